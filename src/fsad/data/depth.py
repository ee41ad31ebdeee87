"""Depth images: from a depth map with holes to three channels a backbone can look at."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fsad.errors import DataError

if TYPE_CHECKING:  # an exported model predicts without torch
    from torch import Tensor

Pixels = TypeVar("Pixels", bound=np.generic)


def valid_depth(z: NDArray[np.floating], path: Path) -> NDArray[np.float32]:
    """Set what is no depth (NaN, infinite, not above 0) to 0.

    Args:
        z: Depth as stored, ``(H, W)``.
        path: Where it was stored, for the message.

    Returns:
        Depth, ``(H, W)`` float32, 0 where invalid.

    Raises:
        DataError: Not one pixel is valid.
    """
    valid = np.isfinite(z) & (z > 0)
    if not valid.any():
        raise DataError(f"{path}: expected at least one depth that is finite and above 0, got none")
    return np.where(valid, z, 0).astype(np.float32)


def nearest_resize(pixels: NDArray[Pixels], size: int) -> NDArray[Pixels]:
    """Resize to a square by picking pixels; depth, masks and parts all go through here.

    Output pixel i takes input pixel ``floor((i + 0.5) * H / S)``, the one its centre falls into,
    as Pillow's ``NEAREST`` does: results stay aligned with images that Pillow resizes.

    Args:
        pixels: ``(H, W)`` or ``(H, W, c)``.
        size: S, the side of the result.

    Returns:
        ``(S, S)`` or ``(S, S, c)``, a copy.
    """
    height, width = pixels.shape[:2]
    odd = 2 * np.arange(size) + 1  # whole numbers: exact at every size
    rows, columns = odd * height // (2 * size), odd * width // (2 * size)
    return np.asarray(pixels[rows[:, None], columns])


def depth_pixels(
    z: NDArray[np.float32],
    size: int,
    region: NDArray[np.bool_] | None = None,
    name: str = "depth",
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
        z: Depth, ``(H, W)``, 0 where invalid.
        size: S, the side of the result.
        region: Where to fill holes, ``(H, W)``: the part. Everywhere if omitted.
        name: What the caller calls the map, for the message.

    Returns:
        The depth image, ``(S, S)`` float32, larger = farther.

    Raises:
        DataError: No pixel is valid after resizing.

    Source:
        HyperTrans' published data loading, which fills holes of up to 4 pixels by 3 × 3 means.
    """
    z = nearest_resize(z, size)
    valid = z > 0
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
) -> "Tensor":
    """Return :func:`depth_pixels` as an image of three equal channels, ``(3, S, S)``.

    Args:
        z: Depth, ``(H, W)``, 0 where invalid.
        size: S, the side of the result.
        region: Where to fill holes, ``(H, W)``.
        name: What the caller calls the map, for the message.

    Raises:
        DataError: No pixel is valid after resizing.
    """
    import torch

    pixels = torch.from_numpy(depth_pixels(z, size, region, name))
    return pixels.expand(3, -1, -1).contiguous()
