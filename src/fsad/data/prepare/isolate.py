"""One organised point cloud: the part kept, the ground and the noise removed, holes filled.

*Organised* means that every pixel has its point, ``xyz[row, column]``, and (0, 0, 0) where the
sensor saw nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fsad.data.prepare.plane import distance, fit_plane
from fsad.data.regions import BESIDE, MATTERS, large_regions
from fsad.errors import DataError

Mask = NDArray[np.bool_]
BORDER = 10  # pixels at each edge taken for ground, as published
FIT_POINTS = 4000  # of the border; more changes the plane by less than the sensor's noise
TRIALS = 200  # with two border points in five off the ground, a miss has odds of 1 : 10^21
CLOSING = 3  # pixels; bridges the unmeasured grooves that cut a part in two

CONSTANTS = {
    "border_pixels": BORDER,
    "fit_points": FIT_POINTS,
    "trials": TRIALS,
    "closing_pixels": CLOSING,
    "smallest_share_of_image": MATTERS,
    "smallest_share_of_largest": BESIDE,
}
"""What the result depends on besides the arguments, for the record."""


def isolate(
    xyz: NDArray[Any], threshold: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Mask]:
    """Keep the part: remove the plane it lies on and fill what the sensor did not see of it.

    Laws (``tests/data/test_isolate.py``):

    * A point measured on the part is unchanged, bit for bit.
    * Inside the part every pixel has a point, on the ray through that pixel; outside none has.
    * A hole that shows the ground keeps the ground's points: a defect is never papered over.

    Args:
        xyz: Organised points, ``(H, W, 3)``, in the camera's frame.
        threshold: A point this near the ground, or behind it, is removed; in the unit of ``xyz``.
        rng: Chooses the points the plane is fitted to.

    Returns:
        The part's points, ``(H, W, 3)`` float32, (0, 0, 0) elsewhere, and the part's mask,
        ``(H, W)``.

    Raises:
        DataError: Nothing was measured, or not before the camera, the border shows no plane, or
            nothing stands on it.
    """
    measured = np.isfinite(xyz).all(axis=-1) & (xyz != 0).any(axis=-1)
    if not measured.any():
        raise DataError("xyz: expected measured points, got none")
    lowest = float(xyz[..., 2][measured].min())
    if lowest <= 0:
        raise DataError(
            f"xyz: expected points before the camera, z above 0, got z from {lowest:.6g} on. Write "
            "heights h as distances: z = d - h, with d above every h."
        )
    points = np.where(measured[..., None], xyz, 0).astype(np.float64)
    height = _height(points, measured, threshold, rng)
    part = _part(height > threshold, ~measured)
    if not part.any():
        raise DataError(
            f"xyz: expected a part more than {threshold} above the ground, got none. "
            "Lower the threshold."
        )
    holes = part & ~measured
    points[holes] = _nearest_z(points, part & measured, holes) * _rays(points, measured, holes)
    points[~part] = 0
    return points.astype(np.float32), part


def _height(
    points: NDArray[np.float64], measured: Mask, threshold: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return each pixel's distance above the ground, 0 where nothing was measured."""
    border = measured.copy()
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    ground = points[border]
    if len(ground) > FIT_POINTS:
        ground = ground[rng.choice(len(ground), FIT_POINTS, replace=False)]
    try:
        plane = fit_plane(ground, threshold, TRIALS, rng)
    except DataError as error:
        raise DataError(f"xyz: expected the ground at the image's border; {error}") from error
    return np.where(measured, distance(points, plane), 0)


def _part(above: Mask, unmeasured: Mask) -> Mask:
    """Return the part's mask from the points above the ground."""
    row, column = np.ogrid[-CLOSING : CLOSING + 1, -CLOSING : CLOSING + 1]
    disc = row**2 + column**2 <= CLOSING**2
    # Padded, because closing would otherwise wear the region away at the image's edge.
    closed = ndimage.binary_closing(np.pad(above, CLOSING), disc)[
        CLOSING:-CLOSING, CLOSING:-CLOSING
    ]
    # Only over what was not measured: ground that was seen between two ridges stays ground.
    filled: Mask = ndimage.binary_fill_holes(large_regions(above | (closed & unmeasured)))
    return filled


def _nearest_z(points: NDArray[np.float64], known: Mask, wanted: Mask) -> NDArray[np.float64]:
    """Return the z of the known pixel nearest to each wanted one, ``(n, 1)``."""
    row, column = ndimage.distance_transform_edt(
        ~known, return_distances=False, return_indices=True
    )
    nearest: NDArray[np.float64] = points[row[wanted], column[wanted], 2:]
    return nearest


def _rays(points: NDArray[np.float64], known: Mask, wanted: Mask) -> NDArray[np.float64]:
    """Return (x/z, y/z, 1) of the wanted pixels, ``(n, 3)``.

    A pinhole camera's x/z and y/z are affine in the pixel's position, so they are read off the
    known points and no calibration is asked for.
    """
    xyz = points[known]
    affine, *_ = np.linalg.lstsq(_positions(known), xyz / xyz[:, 2:], rcond=None)
    return _positions(wanted) @ affine


def _positions(mask: Mask) -> NDArray[np.float64]:
    row, column = np.nonzero(mask)
    return np.stack([column, row, np.ones(len(row))], axis=1)
