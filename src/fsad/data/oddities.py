"""What makes a depth file mislead a run although it can be read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fsad.data.depth_rules import DepthRules
from fsad.data.regions import EIGHT

SLIVER = 0.1  # of the range of depths; less is left for the relief by a collapsed one
MOST = 0.6  # share of the readings that a sliver holds at least
STRAYS = 0.005  # share of readings at either end that are left out of the core
REPEATED = 0.0005  # share of pixels from which on one and the same extreme value is no accident
SURFACE = 16  # connected pixels that are a surface rather than flying pixels
ROOM = 4.0  # widths of the core that a range which is proposed leaves at either end
FAR = 20.0  # metres; what lies farther off was hardly measured in metres
NEAR = 0.01  # metres; what lies nearer was hardly measured in millimetres
ALONG = 0.98  # correlation with the pixel's position from which on a channel is x or y
LOOKED_AT = 100  # rows and columns that the order of points is read from


@dataclass(frozen=True)
class Oddity:
    """One thing that is not as a run takes it to be.

    Attributes:
        kind: ``range``, ``far``, ``order``, ``turned`` or ``unit``.
        problem: What was expected and what is there, with the remedy.
    """

    kind: str
    problem: str

    @property
    def misleads(self) -> bool:
        """Whether scores of the file say nothing; of any other oddity a reader must know."""
        return self.kind in ("range", "order")


def oddities(array: NDArray[Any], z: NDArray[np.float32], rules: DepthRules) -> list[Oddity]:
    """Look at one depth file.

    Args:
        array: Depth ``(H, W)`` or points ``(H, W, 3)`` as stored.
        z: What ``rules`` make of it, with at least one reading.
        rules: How it is read.

    Returns:
        A range that one value or flying pixels stretch until the relief is lost in a sliver of it,
        surfaces so far off that they do the same, points in another order than x, y, z, and a unit
        that cannot be metres.

    Note:
        Some 20 ms for 800 × 800.
    """
    odd = [collapsed(z, rules.scale)]
    if array.ndim == 3:
        odd += [swapped(array), foreign_unit(z[np.isfinite(z)], rules)]
    return [oddity for oddity in odd if oddity]


def collapsed(z: NDArray[np.float32], scale: float = 1.0) -> Oddity | None:
    """Tell whether nearly all readings lie in a sliver of their range.

    A depth image is scaled to its extremes, so that what stretches them flattens everything else.
    Two things do by mistake: a number that stands for "no reading" (one value, many times, far
    from all others), and flying pixels (scattered ones, farther off than the scene is deep). A
    surface does so rightly: a burr on a sheet, or the floor below a hole. Beyond the distance of
    the part it is told of, and no mistake.

    Args:
        z: Depth, ``(H, W)``, NaN where there is no reading; at least one is.
        scale: What the file's numbers were multiplied with, for the message.
    """
    readings = z[np.isfinite(z)]
    lowest, highest = float(readings.min()), float(readings.max())
    for value, rest in _repeated(readings, highest, lowest):
        low, high = _core(rest)
        foreign = value <= 0 < float(rest.min())
        if low < high and (high - low < SLIVER * (highest - lowest) or foreign):
            number = f"{value / scale:.6g}"
            return Oddity(
                "range",
                "expected depths that fill their range, got "
                f"{1 - len(rest) / len(readings):.1%} of the readings at {number} and the others "
                f"from {low / scale:.6g} to {high / scale:.6g}. If {number} means no reading, say "
                f"data.invalid=[{number}]",
            )
    return _stretched(z, readings, scale)


def _stretched(
    z: NDArray[np.float32], readings: NDArray[np.float32], scale: float
) -> Oddity | None:
    """Tell of readings that are few, or scattered, and far from the others."""
    lowest, highest = float(readings.min()), float(readings.max())
    low, high = _densest(readings)
    width, spread = high - low, highest - lowest
    if not 0 < width < SLIVER * spread:
        return None
    with np.errstate(invalid="ignore"):
        outside = (z < low - 2 * width) | (z > high + 2 * width)
    stray = z[outside]
    # As far from the scene as the scene is from the camera; heights know no such distance.
    distant = lowest <= 0 or spread > abs(float(np.median(readings)))
    if not distant or not len(stray):
        return None
    labels, _ = ndimage.label(outside, EIGHT)
    scattered = np.bincount(labels[outside]).max() < max(SURFACE, len(stray) / 4)
    room = ROOM * width
    found = (
        f"expected depths that fill their range, {lowest / scale:.6g} to {highest / scale:.6g}, "
        f"got {1 - len(stray) / len(readings):.1%} of the readings around {low / scale:.6g} to "
        f"{high / scale:.6g}"
    )
    bounds = f"data.z_range=[{(low - room) / scale:.6g},{(high + room) / scale:.6g}]"
    if scattered:
        return Oddity(
            "range",
            f"{found} and {len(stray)} scattered ones elsewhere. Limit the valid readings, as in "
            f"{bounds}, with room for every defect",
        )
    if lowest <= 0:
        return None  # the part stands out of the ground
    return Oddity(
        "far",
        f"{found} and a distant surface, which flattens the relief. If it does not belong to the "
        f"inspected part, limit the valid readings, as in {bounds}",
    )


def _core(readings: NDArray[np.float32]) -> tuple[float, float]:
    """Return the lowest and the highest reading without a few strays at either end."""
    cut = int(np.ceil(STRAYS * len(readings)))
    if len(readings) <= 2 * cut:
        cut = 0
    ends = np.partition(readings, [cut, len(readings) - 1 - cut])
    return float(ends[cut]), float(ends[len(readings) - 1 - cut])


def _densest(readings: NDArray[np.float32]) -> tuple[float, float]:
    """Return the shortest interval that holds ``MOST`` of the readings, and all that adjoins it."""
    values = np.sort(readings[:: max(1, len(readings) // 50_000)].astype(np.float64))
    count = max(1, int(MOST * len(values)))
    widths = values[count - 1 :] - values[: len(values) - count + 1]
    first = int(widths.argmin())
    # Relief goes on up to a gap as wide as this; what lies beyond one strays.
    gaps = np.flatnonzero(np.diff(values) > widths[first])
    above, below = gaps[gaps >= first + count - 1], gaps[gaps < first]
    high = values[above[0]] if len(above) else values[-1]
    low = values[below[-1] + 1] if len(below) else values[0]
    return float(low), float(high)


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
    where it is a plane. A camera's x / z runs along the columns exactly, however the plane lies.
    Points without x and y, all 0, have no order.
    """
    steps = (max(1, length // LOOKED_AT) for length in array.shape[:2])
    points = array[tuple(slice(None, None, step) for step in steps)]
    valid = np.isfinite(points).all(axis=-1) & (points != 0).any(axis=-1)
    places = np.nonzero(valid)[::-1]  # columns, rows
    x, y, z = points[valid].T.astype(np.float64)
    plain = _alignment(z, y, places) > ALONG > _correlation(x, places[0])
    camera = (x > 0).all() and _alignment(
        z / np.where(x > 0, x, 1), y / np.where(x > 0, x, 1), places
    )
    if plain or (camera > ALONG and camera > _rays_alignment(x, y, z, places) + 0.01):
        return Oddity(
            "order",
            "expected points x, y, z, of which x grows along the columns, got the third number "
            "growing there: z, y, x, as OpenCV writes them. Reverse the last axis: xyz[..., ::-1]",
        )
    if _alignment(y, x, places) > ALONG > _correlation(x, places[0]):
        return Oddity(
            "turned",
            "expected x to grow along the columns and y along the rows, got the reverse. Only z is "
            "used, so scores are not affected",
        )
    return None


def _rays_alignment(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    places: tuple[NDArray[np.int64], ...],
) -> float:
    """Return how well x / z and y / z run with columns and rows, as a camera's do."""
    if (z == 0).any():
        return 0.0
    return _alignment(x / z, y / z, places)


def _alignment(
    across: NDArray[np.float64], down: NDArray[np.float64], places: tuple[NDArray[np.int64], ...]
) -> float:
    """Return how far one channel runs with the columns and another with the rows, from 0 to 1."""
    columns, rows = places
    return min(_correlation(across, columns), _correlation(down, rows))


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
