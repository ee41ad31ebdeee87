"""What makes a depth file mislead a run although it can be read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsad.data.depth_rules import DepthRules

SLIVER = 0.1  # of the range of depths; less is left for the relief by a collapsed one
STRAYS = 0.005  # share of pixels at either end that may be flying ones, ...
MANY_STRAYS = 0.05  # ... or are, where the range is wider than the scene is far
REPEATED = 0.0005  # share of pixels from which on one and the same extreme value is no accident
FAR = 20.0  # metres; what lies farther off was hardly measured in metres
NEAR = 0.01  # metres; what lies nearer was hardly measured in millimetres
ALONG = 0.98  # correlation with the pixel's position from which on a channel is x or y
LOOKED_AT = 100  # rows and columns that the order of points is read from


@dataclass(frozen=True)
class Oddity:
    """One thing that is not as a run takes it to be.

    Attributes:
        kind: ``range``, ``order`` or ``unit``.
        problem: What was expected and what is there, with the remedy.
    """

    kind: str
    problem: str


def oddities(array: NDArray[Any], z: NDArray[np.float32], rules: DepthRules) -> list[Oddity]:
    """Look at one depth file.

    Args:
        array: Depth ``(H, W)`` or points ``(H, W, 3)`` as stored.
        z: What ``rules`` make of it, with at least one reading.
        rules: How it is read.

    Returns:
        What would mislead a run: a range that one value or some strays stretch until the relief is
        lost in a sliver of it, points in the order z, y, x, and a unit that cannot be metres.

    Note:
        Some 15 ms for 800 × 800.
    """
    readings = z[np.isfinite(z)]
    odd = [collapsed(readings, rules.scale)]
    if array.ndim == 3:
        odd += [swapped(array), foreign_unit(readings, rules)]
    return [oddity for oddity in odd if oddity]


def collapsed(readings: NDArray[np.float32], scale: float = 1.0) -> Oddity | None:
    """Tell whether nearly all readings lie in a sliver of their range.

    A depth image is scaled to its extremes, so that what stretches them flattens everything else.
    Two things do: a number that stands for "no reading" (one value, many times, far from all
    others), and flying pixels (a few at either end).

    Args:
        readings: Depths, flat, finite, at least one.
        scale: What the file's numbers were multiplied with, for the message.
    """
    lowest, highest = float(readings.min()), float(readings.max())
    spread = highest - lowest
    for value, rest in _repeated(readings, highest, lowest):
        low, high = _core(rest, STRAYS)
        foreign = value <= 0 < float(rest.min())
        if low < high and (high - low < SLIVER * spread or foreign):
            number = f"{value / scale:.6g}"
            return Oddity(
                "range",
                "expected depths that fill their range, got "
                f"{1 - len(rest) / len(readings):.1%} of the readings at {number} and the others "
                f"from {low / scale:.6g} to {high / scale:.6g}. If {number} means no reading, say "
                f"data.invalid=[{number}]",
            )
    for strays, sliver in ((STRAYS, SLIVER), (MANY_STRAYS, SLIVER / 2)):
        low, high = _core(readings, strays)
        # A small part on a flat ground is a sliver with many outside it, but no farther off.
        scene = strays == STRAYS or spread > 2 * max(abs(low), abs(high))
        if low < high and high - low < sliver * spread and scene:
            return Oddity(
                "range",
                f"expected depths that fill their range, {lowest / scale:.6g} to "
                f"{highest / scale:.6g}, got {1 - 2 * strays:.0%} of the readings in "
                f"{(high - low) / spread:.1%} of it, {low / scale:.6g} to {high / scale:.6g}. Say "
                f"where readings can be, as in data.z_range=[{low / scale:.6g},{high / scale:.6g}]",
            )
    return None


def _core(readings: NDArray[np.float32], strays: float) -> tuple[float, float]:
    """Return the lowest and the highest reading without a share of them at either end."""
    cut = int(np.ceil(strays * len(readings)))
    if len(readings) <= 2 * cut:
        cut = 0
    ends = np.partition(readings, [cut, len(readings) - 1 - cut])
    return float(ends[cut]), float(ends[len(readings) - 1 - cut])


def _repeated(
    readings: NDArray[np.float32], *extremes: float
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Yield each extreme value that may stand for no reading, with the rest of the readings."""
    for extreme in extremes:
        rest = readings[readings != np.float32(extreme)]
        if not len(rest) or len(rest) > (1 - REPEATED) * len(readings):
            continue
        # A flat top of a quantised map is one value too, but no farther off than the scene is.
        middle = float(np.median(rest))
        if abs(extreme - middle) >= abs(middle):
            yield extreme, rest


def swapped(array: NDArray[Any]) -> Oddity | None:
    """Tell whether points come as z, y, x: OpenCV reverses an image's channels when it writes.

    Only x runs along the columns and only y along the rows, in whichever direction; z does so
    where it is a plane. Points without x and y, all 0, have no order.
    """
    steps = (max(1, length // LOOKED_AT) for length in array.shape[:2])
    points = array[tuple(slice(None, None, step) for step in steps)]
    (x_column, x_row), (y_column, y_row), (z_column, _) = _alignments(points)
    if z_column > ALONG and y_row > ALONG and x_column < ALONG:
        return Oddity(
            "order",
            "expected points x, y, z, of which x grows along the columns, got the third number "
            "growing there: z, y, x, as OpenCV writes them. Reverse the last axis: xyz[..., ::-1]",
        )
    if x_row > ALONG and y_column > ALONG and x_column < ALONG:
        return Oddity(
            "order",
            "expected x to grow along the columns and y along the rows, got the reverse. "
            "Transpose the points, or exchange x and y",
        )
    return None


def _alignments(points: NDArray[Any]) -> list[tuple[float, float]]:
    """Return how far each channel runs with the columns and with the rows, from 0 to 1."""
    valid = np.isfinite(points).all(axis=-1) & (points != 0).any(axis=-1)
    rows, columns = np.nonzero(valid)
    return [
        (_correlation(channel, columns), _correlation(channel, rows))
        for channel in points[valid].T.astype(np.float64)
    ]


def _correlation(values: NDArray[np.float64], places: NDArray[np.int64]) -> float:
    if len(values) < 3 or values.std() == 0 or places.std() == 0:
        return 0.0
    return abs(float(np.corrcoef(values, places)[0, 1]))


def foreign_unit(readings: NDArray[np.float32], rules: DepthRules) -> Oddity | None:
    """Tell whether points lie so far off, or so near, that they are of another unit.

    Only distances from a camera tell it. A unit that was named is believed unless everything would
    lie in the lens.

    Args:
        readings: Their depths after ``rules``, flat, finite.
        rules: How they were read.
    """
    if (readings <= 0).any():
        return None
    distance = float(np.median(readings))
    if rules.unit is None and distance > FAR:
        named, other, setting = "metres", "millimetres", "mm"
    elif rules.unit == "mm" and distance < NEAR:
        named, other, setting = "millimetres", "metres", "m"
    else:
        return None
    return Oddity(
        "unit",
        f"expected points in {named}, got some {distance / rules.scale:.4g} away. If they are "
        f"{other}, say data.unit={setting}",
    )
