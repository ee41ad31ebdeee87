"""Images turned about their middle."""

import math

from torch import Tensor
from torch.nn.functional import pad


def turned(images: Tensor, degrees: float) -> Tensor:
    """Turn images ``(n, c, H, W)`` about their middle; the corners mirror what is inside.

    Law: a quarter turn of a square image moves every pixel and changes none.
    """
    if degrees == 0:
        return images
    # Two seconds, which scoring need not wait for: only the images of a bank are turned.
    from torchvision.transforms.functional import InterpolationMode, center_crop, rotate

    height, width = images.shape[2:]
    margin = math.ceil((math.sqrt(2) - 1) / 2 * max(height, width)) + 1
    mirrored = pad(images, (margin,) * 4, mode="reflect")
    turned = rotate(mirrored, degrees, InterpolationMode.BILINEAR)
    whole: Tensor = center_crop(turned, [height, width])
    return whole
