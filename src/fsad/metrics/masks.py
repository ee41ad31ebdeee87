"""Masks made ready for measuring: ground-truth regions numbered, parts dilated."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import conv2d

from fsad.errors import DataError, check_at_least, check_shape

IN_PLANE = np.zeros((3, 3, 3), dtype=int)
IN_PLANE[1] = 1  # neighbours within an image, diagonals included; never across images


def check_mask(name: str, mask: Tensor, **sizes: int) -> dict[str, int]:
    """Measure a stack of masks.

    Raises:
        ShapeError: It is not ``(n, H, W)``, or a known axis has another size.
        DataError: It is not bool; casting a soft mask would mark all of its border.
    """
    shape = check_shape(name, mask, "n H W", **sizes)
    if mask.dtype != torch.bool:
        raise DataError(f"{name}: expected dtype torch.bool, got {mask.dtype}")
    return shape


def number_regions(masks: Tensor) -> Tensor:
    """Number the 8-connected anomalous regions of all images consecutively.

    Args:
        masks: Ground truth, ``(n, H, W)``, bool.

    Returns:
        Region of each pixel, ``(n, H, W)``, int32 on the CPU: 0 where defect-free, else 1, 2, ...

    Raises:
        ShapeError: ``masks`` is not ``(n, H, W)``.
        DataError: ``masks`` is not bool.
    """
    check_mask("masks", masks)
    numbered, _ = ndimage.label(masks.cpu().numpy(), structure=IN_PLANE)
    return torch.from_numpy(numbered)


def dilate(mask: Tensor, radius: int) -> Tensor:
    r"""Grow a mask by a Euclidean disc.

    A pixel belongs to the result if a pixel of the mask lies within ``radius``.

    Laws (``tests/test_pro.py``): radius 0 changes nothing; the result holds the mask; an empty mask
    stays empty.

    Args:
        mask: ``(n, H, W)``, bool.
        radius: Pixels, at least 0.

    Returns:
        The grown mask, ``(n, H, W)``, bool, on the device of ``mask``.

    Raises:
        ShapeError: ``mask`` is not ``(n, H, W)``.
        DataError: ``mask`` is not bool.
        ConfigError: ``radius`` is not a whole number of at least 0.
    """
    check_mask("mask", mask)
    check_at_least("radius", radius, 0)
    offset = torch.arange(-radius, radius + 1, device=mask.device)
    disc = offset[:, None] ** 2 + offset**2 <= radius**2
    covered = conv2d(mask[:, None].float(), disc[None, None].float(), padding=radius)
    return covered[:, 0] > 0.5  # the sum counts pixels: 0 or at least 1
