"""Images rotated about their middle."""

import math

from torch import Tensor
from torch.nn.functional import pad


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Rotate images about their middle, counter-clockwise; the corners mirror what is inside.

    Law (``tests/functional/test_rotation.py``): a quarter turn of a square image moves every pixel
    and changes none.

    Args:
        images: ``(n, c, H, W)``.
        degrees: The angle.

    Returns:
        ``(n, c, H, W)``, bilinear.
    """
    if degrees == 0:
        return images
    # Two seconds, which scoring need not wait for: only the images of a bank are rotated.
    from torchvision.transforms import functional

    height, width = images.shape[2:]
    margin = math.ceil((math.sqrt(2) - 1) / 2 * max(height, width)) + 1
    mirrored = pad(images, (margin,) * 4, mode="reflect")
    rotated = functional.rotate(mirrored, degrees, functional.InterpolationMode.BILINEAR)
    whole: Tensor = functional.center_crop(rotated, [height, width])
    return whole
