"""The pixels that a category's images are brought to: a square, or a rectangle of their shape."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from fsad.errors import ConfigError, DataError, check_at_least, check_positive

RESIZES = ("square", "keep")
"""How images become a model's: made square whatever their shape, or of the shape that they have."""
BESIDE = -1.0
"""What a canvas holds beside an image; the image's own pixels are 0 or more."""
ALIKE = 0.05
"""Relative difference of two aspects up to which an image fills the canvas nevertheless."""


@dataclass(frozen=True)
class Canvas:
    """Height and width of what a model sees, and where on it an image lies.

    An image lies in the upper left corner. Whatever is beside it is no pixel of it, and is neither
    scored nor measured.

    Laws (``tests/data/test_canvas.py``):

    * An image's area is a whole number of cells, and lies on the canvas.
    * An image that is turned on its side has the area, turned, of the turned canvas.
    * An area's sides are those of an image of its aspect to within half a cell, unless the image
      fills the canvas.

    Attributes:
        height: Pixels.
        width: Pixels.
        cell: Height and width of the cells that areas are made of, pixels; 1 divides nothing.
        aspect: Width over height of the training images; an image of another is made smaller until
            all of it fits in. None: every image fills the canvas, whatever its shape.

    Raises:
        ConfigError: A number is out of range, or the canvas is not made of whole cells.
    """

    height: int
    width: int
    cell: int = 1
    aspect: float | None = None

    def __post_init__(self) -> None:
        for name in ("height", "width", "cell"):
            check_at_least(f"canvas.{name}", getattr(self, name), 1)
        if self.aspect is not None:
            check_positive("canvas.aspect", self.aspect)
        if self.height % self.cell or self.width % self.cell:
            raise ConfigError(
                f"canvas: expected a multiple of {self.cell} pixels, got {self.height} x "
                f"{self.width}"
            )

    @classmethod
    def square(cls, size: int) -> Self:
        """Return the canvas that every image is stretched to, ``size`` pixels high and wide."""
        return cls(size, size)

    @classmethod
    def of_aspect(cls, aspect: float, size: int, cell: int) -> Self:
        """Return the canvas of images of one shape.

        Args:
            aspect: Their width over height.
            size: Of the shorter side, pixels, a multiple of ``cell``; the longer one follows from
                the aspect, rounded to whole cells.
            cell: Height and width of what the backbone sees as one, pixels.

        Examples:
            >>> Canvas.of_aspect(250 / 630, 224, 16)
            Canvas(height=560, width=224, cell=16, aspect=0.3968253968253968)
        """
        longer = cell * _rounded(size * max(aspect, 1 / aspect) / cell)
        height, width = (size, longer) if aspect >= 1 else (longer, size)
        return cls(height, width, cell, aspect)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.height, self.width

    def is_filled_by(self, height: float, width: float) -> bool:
        """Tell whether an image of this height and width, in any unit, covers all of the canvas."""
        if self.aspect is None:
            return True
        factor = width / height / self.aspect
        return max(factor, 1 / factor) <= 1 + ALIKE

    def refuse_other_shapes(self, aspects: Mapping[str, float]) -> None:
        """Refuse training images that would not fill the canvas.

        Args:
            aspects: Width over height of each, by its name.

        Raises:
            DataError: One has another shape.
        """
        for name, aspect in aspects.items():
            if not self.is_filled_by(1, aspect):
                raise DataError(
                    f"data.resize: expected training images of one width : height for keep, got "
                    f"{self.aspect:.3g} : 1 and, of {name}, {aspect:.3g} : 1. Sort them into "
                    "categories, or choose data.resize=square."
                )

    def area(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the area that an image takes, pixels.

        Args:
            height: The image's own, pixels.
            width: The image's own, pixels.

        Examples:
            >>> Canvas.of_aspect(0.4, 224, 16).area(300, 300)
            (224, 224)
        """
        if self.is_filled_by(height, width):
            return self.shape
        scale = min(self.height / height, self.width / width)
        return self._cells(height * scale, self.height), self._cells(width * scale, self.width)

    def _cells(self, length: float, most: int) -> int:
        return min(most, self.cell * max(1, _rounded(length / self.cell)))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | None) -> Self | None:
        """Read it back; None is none.

        Raises:
            KeyError: A key is missing.
            TypeError: A value is of another kind.
            ConfigError: A value is out of range.
        """
        if record is None:
            return None
        names = ("height", "width", "cell", "aspect")
        return cls(**{name: record[name] for name in names})


def as_canvas(size: int | Canvas) -> Canvas:
    """Return a canvas; of a number of pixels the square."""
    return size if isinstance(size, Canvas) else Canvas.square(size)


def _rounded(value: float) -> int:
    """Round to the nearest whole number; halves up, for both axes alike."""
    return int(value + 0.5)
