"""Masks made ready for measuring: ground-truth regions numbered, parts dilated."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from fsad.errors import DataError, check_at_least, check_shape

Mask = NDArray[np.bool_]

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

    Laws (``tests/metrics``): radius 0 changes nothing; the result holds the mask; an empty mask
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
    grown = mask.cpu().numpy()
    widened = [grown]  # along the rows by 0, 1, ... pixels
    for reach in range(1, radius + 1):
        widened.append(_reach(widened[-1], grown, (0, reach)))
    grown = widened[radius]
    for rise in range(1, radius + 1):
        chord = widened[math.isqrt(radius**2 - rise**2)]  # the disc at this height
        grown = _reach(grown, chord, (rise, 0))
    return torch.from_numpy(grown).to(mask.device)


def _reach(grown: Mask, mask: Mask, by: tuple[int, int]) -> Mask:
    """Add to ``grown`` the mask shifted by so many rows and columns, both ways."""
    grown = grown.copy()
    rows, columns = by
    height, width = mask.shape[1] - rows, mask.shape[2] - columns
    if height > 0 and width > 0:
        grown[:, rows:, columns:] |= mask[:, :height, :width]
        grown[:, :height, :width] |= mask[:, rows:, columns:]
    return grown
