"""The plane a part lies on, found among points that are not all on it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsad.errors import DataError, check_at_least, check_positive

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """All points p with ``normal · p = offset``; the origin (the camera) is on its positive side.

    Attributes:
        normal: Unit vector, ``(3,)``.
        offset: In the unit of the points, never above zero.
    """

    normal: Points
    offset: float


def distance(points: NDArray[Any], plane: Plane) -> Points:
    """Return each point's signed distance from a plane.

    Args:
        points: ``(..., 3)``.
        plane: The plane.

    Returns:
        ``(...)``, in the unit of ``points``; positive on the camera's side.
    """
    signed: Points = np.asarray(points, np.float64) @ plane.normal - plane.offset
    return signed


def fit_plane(
    points: NDArray[Any], threshold: float, trials: int, rng: np.random.Generator
) -> Plane:
    """Find the plane that most points lie on: RANSAC, then least squares on the points near it.

    Laws (``tests/data/test_plane.py``):

    * Points on a plane give that plane.
    * Moving the points rigidly moves the plane with them.
    * Two points in five may lie anywhere.
    * The same generator state gives the same plane.

    Args:
        points: ``(n, 3)``, n at least 3, finite.
        threshold: A point this near counts as on the plane, in the unit of ``points``.
        trials: Planes through three random points to try.
        rng: Where the random points come from.

    Returns:
        The plane.

    Raises:
        ConfigError: ``threshold`` or ``trials`` is not above zero.
        DataError: There are fewer than three points, or they lie on one line.

    Note:
        Memory is ``trials * n`` numbers: hand over a few thousand points, not a whole image.

    Source:
        Fischler and Bolles, "Random sample consensus", 1981.
    """
    check_positive("threshold", threshold)
    check_at_least("trials", trials, 1)
    if len(points) < 3:
        raise DataError(f"points: expected at least 3 to fit a plane, got {len(points)}")
    centre = np.asarray(points, np.float64).mean(axis=0)
    local = np.asarray(points, np.float64) - centre  # keeps precision far from the origin
    spread = np.linalg.svd(local, compute_uv=False)
    if spread[1] <= 1e-9 * spread[0]:
        raise DataError("points: expected a surface to fit a plane to, got points on one line")

    plane = _best_of(_through_triples(local, trials, rng), local, threshold)
    for _ in range(2):  # the second pass takes in points the rough plane missed
        plane = _least_squares(local[np.abs(distance(local, plane)) < threshold], plane)
    return _facing_origin(plane.normal, plane.offset + float(plane.normal @ centre))


def _through_triples(
    points: Points, trials: int, rng: np.random.Generator
) -> tuple[Points, Points]:
    """Return normals ``(t, 3)`` and offsets ``(t,)`` of planes through random triples."""
    a, b, c = points[rng.integers(len(points), size=(3, trials))]
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1)
    usable = lengths > 1e-12 * np.abs(points).max() ** 2  # a triple on one line has no plane
    if not usable.any():
        raise DataError("points: expected a surface to fit a plane to, got points on one line")
    normals = normals[usable] / lengths[usable, None]
    return normals, np.einsum("tx,tx->t", normals, a[usable])


def _best_of(planes: tuple[Points, Points], points: Points, threshold: float) -> Plane:
    normals, offsets = planes
    near = np.abs(normals @ points.T - offsets[:, None]) < threshold  # (t, n)
    best = int(near.sum(axis=1).argmax())
    return Plane(normals[best], float(offsets[best]))


def _least_squares(near: Points, rough: Plane) -> Plane:
    centre = near.mean(axis=0)
    _, spread, axes = np.linalg.svd(near - centre, full_matrices=False)
    if len(near) < 3 or spread[1] <= 1e-9 * spread[0]:
        return rough
    normal = axes[2]
    return Plane(normal, float(normal @ centre))


def _facing_origin(normal: Points, offset: float) -> Plane:
    return Plane(-normal, -offset) if offset > 0 else Plane(normal, offset)
