"""What a category's images look like, so that a new image can be held against them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsad.data.canvas import Canvas
from fsad.data.depth_rules import DepthRules
from fsad.errors import DataError, check_positive

ASPECT = 0.02  # relative difference of two aspects that a camera's cropping does not explain
OTHER_SIZE = 2.0  # from this factor on the scene is said to be of another size ...
OTHER_PART = 10.0  # ... and from this on it cannot be the same part ...
LOOKED_AT = 200  # rows and columns that are measured: an extent needs no more
THOUSAND = 1000.0  # ... unless it is this many times as large: metres and millimetres


@dataclass(frozen=True)
class InputProfile:
    """Shape and, of points, scale of a category's images.

    Attributes:
        aspect: Width over height, of the first shot.
        extent: Median over the shots of how far the points reach along x or y, whichever is more,
            in metres or the data set's own unit, without the outermost percent at either end; None
            where the files hold depth alone.
        canvas: What the images are brought to where they keep their aspect; None where they are
            made square.
    """

    aspect: float
    extent: float | None = None
    canvas: Canvas | None = None

    @classmethod
    def of(cls, arrays: Iterable[NDArray[Any]], rules: DepthRules) -> "InputProfile":
        """Measure depth files.

        Args:
            arrays: Depth ``(H, W)`` or points ``(H, W, 3)`` as stored, at least one.
            rules: How they are read.
        """
        aspects, extents = [], []
        for array in arrays:
            aspects.append(array.shape[1] / array.shape[0])
            extents.append(_extent(array, rules))
        known = [extent for extent in extents if extent is not None]
        return cls(aspects[0], float(np.median(known)) if known else None)

    def differs(self, other: "InputProfile") -> bool:
        """Tell whether another image's aspect or scale is not these files'."""
        return self._is_cropped(other) or not _is_near(self._factor(other), 1.0)

    def _is_cropped(self, other: "InputProfile") -> bool:
        return abs(other.aspect / self.aspect - 1) > ASPECT

    def _factor(self, other: "InputProfile") -> float:
        """Return how many times as far another image's points reach; 1 where that is unknown."""
        if self.extent is None or other.extent is None:
            return 1.0
        return other.extent / self.extent

    def compare(self, other: "InputProfile", name: str, *, unit_matters: bool = False) -> list[str]:
        """Hold a new image against the category's.

        Args:
            other: The image's own.
            name: The image, for the message.
            unit_matters: Whether scores depend on the unit, as those of a prepared copy do.

        Returns:
            What a reader of its score must know, one sentence each.

        Raises:
            DataError: It cannot show the same part.
        """
        notes = []
        if self.canvas is not None:
            notes += self._beside(self.canvas, other, name)
        elif self._is_cropped(other):
            notes.append(
                f"{name}: expected width : height {self.aspect:.3g} : 1 as in training, got "
                f"{other.aspect:.3g} : 1. Both are resized to a square, so the part looks "
                "stretched; crop the image as the training images are"
            )
        factor = self._factor(other)
        if _is_near(factor, 1.0):
            return notes
        got = (
            f"{name}: expected points that reach about {self.extent:.3g} as in training, got "
            f"{other.extent:.3g}"
        )
        if 1 / OTHER_PART < factor < OTHER_PART:
            return [*notes, f"{got}: probably another part, or another viewpoint"]
        if _is_near(factor, THOUSAND) or _is_near(factor, 1 / THOUSAND):
            unit, option = ("millimetres", "mm") if factor > 1 else ("metres", "m")
            if unit_matters:
                raise DataError(
                    f"{got}: probably {unit}, another unit than in training. Say --unit {option}"
                )
            return [*notes, f"{got}: probably another unit of length; scores are not affected"]
        raise DataError(f"{got}: it cannot be the same part. Look at the file, or at its unit")

    def _beside(self, canvas: Canvas, other: "InputProfile", name: str) -> list[str]:
        if canvas.is_filled_by(1, other.aspect):
            return []
        return [
            f"{name}: expected width : height {canvas.aspect:.3g} : 1 as in training, got "
            f"{other.aspect:.3g} : 1. It is made smaller until all of it fits into {canvas.width} "
            f"x {canvas.height} pixels, so the part may look smaller than in training"
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON has it; without a canvas where there is none."""
        record = asdict(self)
        if self.canvas is None:
            del record["canvas"]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | None) -> "InputProfile | None":
        """Read a profile back; runs of earlier versions have none.

        Raises:
            KeyError: A key is missing.
            TypeError: A value is of another kind.
            ConfigError: A value is no finite number above 0.
        """
        if not record:
            return None
        aspect, extent = record["aspect"], record["extent"]
        return cls(
            check_positive("aspect", aspect),
            None if extent is None else check_positive("extent", extent),
            Canvas.from_json(record.get("canvas")),
        )


def _is_near(factor: float, other: float) -> bool:
    return 1 / OTHER_SIZE < factor / other < OTHER_SIZE


def _extent(array: NDArray[Any], rules: DepthRules) -> float | None:
    if array.ndim != 3:
        return None
    steps = (max(1, length // LOOKED_AT) for length in array.shape[:2])
    some = array[tuple(slice(None, None, step) for step in steps)]
    try:
        points = rules.points(some, "points")
    except DataError:  # none of these is a reading
        return None
    read = (points != 0).any(axis=-1)
    low, high = np.percentile(points[read][:, :2], [1, 99], axis=0)
    extent = float((high - low).max())
    return extent or None  # x and y may be left at 0
