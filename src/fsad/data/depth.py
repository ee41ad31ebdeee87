"""Depth images: from a depth map with holes to three channels a backbone can look at."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fsad.data.shrink import mean_resize, nearest_resize
from fsad.errors import DataError

if TYPE_CHECKING:  # an exported model predicts without torch
    from torch import Tensor


def depth_pixels(
    z: NDArray[np.float32],
    size: int,
    region: NDArray[np.bool_] | None = None,
    name: str = "depth",
    shrink: str = "nearest",
) -> NDArray[np.float32]:
    r"""Turn a depth map into an image with values in {0} ∪ [0.1, 0.9].

    .. math:: d = 0.1 + 0.8 \, \frac{z - \min z}{\max z - \min z}

    with the extremes over the image's valid pixels after resizing; a flat map becomes 0.5. A hole
    takes the value of the nearest valid pixel. Holes outside ``region`` stay 0.

    Laws (``tests/data/test_depth.py``):

    * :math:`z \mapsto a z + b` with :math:`a > 0` changes nothing.
    * A pixel that is valid keeps its value whatever is filled around it.
    * What is filled lies in [0.1, 0.9].

    Args:
        z: Depth, ``(H, W)``, NaN where there is no reading.
        size: S, the side of the result.
        region: Where to fill holes, ``(H, W)``: the part. Everywhere if omitted.
        name: What the caller calls the map, for the message.
        shrink: ``area`` or ``nearest``, see :class:`~fsad.data.depth_rules.DepthRules`.

    Returns:
        The depth image, ``(S, S)`` float32, larger = larger z: farther from a camera, higher above
        a profiler's plane.

    Raises:
        DataError: No pixel is valid after resizing.

    Source:
        HyperTrans' published data loading, which fills holes of up to 4 pixels by 3 × 3 means.
    """
    z = mean_resize(z, size) if shrink == "area" else nearest_resize(z, size)
    valid = np.isfinite(z)
    if not valid.any():
        raise DataError(
            f"{name}: expected a valid pixel at {size} × {size}, got none. "
            "Choose another data.image_size, or check the file."
        )
    low, high = float(z[valid].min()), float(z[valid].max())
    scale = 0.8 / (high - low) if high > low else 0.0
    offset = 0.1 if high > low else 0.5
    image = np.where(valid, (z.astype(np.float64) - low) * scale + offset, 0.0)

    rows, columns = ndimage.distance_transform_edt(
        ~valid, return_distances=False, return_indices=True
    )
    holes = ~valid if region is None else ~valid & nearest_resize(region, size)
    image[holes] = image[rows, columns][holes]
    return image.astype(np.float32)


def depth_image(
    z: NDArray[np.float32],
    size: int,
    region: NDArray[np.bool_] | None = None,
    name: str = "depth",
    shrink: str = "nearest",
) -> "Tensor":
    """Return :func:`depth_pixels` as an image of three equal channels, ``(3, S, S)``.

    Args:
        z: Depth, ``(H, W)``, NaN where there is no reading.
        size: S, the side of the result.
        region: Where to fill holes, ``(H, W)``.
        name: What the caller calls the map, for the message.
        shrink: ``area`` or ``nearest``.

    Raises:
        DataError: No pixel is valid after resizing.
    """
    import torch

    pixels = torch.from_numpy(depth_pixels(z, size, region, name, shrink))
    return pixels.expand(3, -1, -1).contiguous()
