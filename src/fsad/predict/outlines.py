"""The outlines of what lies above a threshold, with sub-pixel accuracy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Outline(NamedTuple):
    """One closed line along which a map has the threshold's value.

    Attributes:
        points: x to the right and y down, ``(p, 2)``, in pixels of the map: whole numbers are
            pixels' centres. The last point is the first.
        is_hole: Whether it surrounds what lies below the threshold.
    """

    points: NDArray[np.float64]
    is_hole: bool


def outlines(values: NDArray[np.float32], threshold: float) -> list[Outline]:
    """Trace the regions of a map above a threshold.

    Laws (``tests/predict/test_outlines.py``):

    * A map nowhere above the threshold has none.
    * Every outline is closed, also where a region is cut off by the image's border.
    * A disc's outline encloses the disc's area.

    Args:
        values: ``(H, W)``, finite.
        threshold: In the unit of the values.

    Returns:
        The outlines, largest enclosed area first.

    Source:
        contourpy, the part of Matplotlib that draws contour lines: marching squares.
    """
    if not (values > threshold).any():
        return []
    from contourpy import contour_generator  # for images with something to outline alone

    height, width = values.shape
    below = threshold - max(float(values.max()) - threshold, 1e-6)  # the border closes the lines
    padded = np.pad(values.astype(np.float64), 1, constant_values=below)
    lines = contour_generator(
        x=np.arange(-1, width + 1), y=np.arange(-1, height + 1), z=padded
    ).lines(threshold)
    found = []
    for line in lines:
        points = np.asarray(line, np.float64).clip(-0.5, [width - 0.5, height - 0.5])
        found.append((_area(points), points))
    found.sort(key=lambda it: -abs(it[0]))
    return [Outline(points, area < 0) for area, points in found]


def _area(points: NDArray[np.float64]) -> float:
    """Return the enclosed area, negative for a line that runs the other way round."""
    x, y = points.T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2
