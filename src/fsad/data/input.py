"""How a file or an array becomes what a model sees: the same for a run's images and for new ones.

Needs no torch: an exported model predicts without it.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fsad.data import depth_file, images
from fsad.data.canvas import Canvas
from fsad.data.depth import depth_pixels
from fsad.data.depth_rules import DepthRules
from fsad.data.images import check_photograph, read_rgb, rgb_pixels
from fsad.data.oddities import oddities
from fsad.data.prepare.isolate import isolate
from fsad.data.profile import InputProfile
from fsad.errors import ConfigError, DataError

DEPTH = "depth"
"""The modality of depth maps and points; an image of any other is a photograph."""


def channels_of(modality: str) -> int:
    """Return how many channels of an image of a modality differ: 1 of depth, 3 of colour."""
    return 1 if modality == DEPTH else 3


class SeenImage(NamedTuple):
    """An image as a model sees it.

    Attributes:
        pixels: ``(C, S, S)`` float32 in [0, 1]; beside the image
            :data:`~fsad.data.canvas.BESIDE`.
        size: Height and width of the image that it was made from, pixels.
        area: Height and width of what of ``pixels`` is the image, from the upper left corner.
        notes: How it is unlike the training images, one sentence each; mostly none.
    """

    pixels: NDArray[np.float32]
    size: tuple[int, int]
    area: tuple[int, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class InputSpec(ABC):
    """What a model takes: which files, and how they become ``(C, S, S)``.

    Attributes:
        size: Height and width of the images that the model sees, pixels, S; of the shorter side
            where they keep their aspect.
        profile: What the training images looked like; None where nobody noted it.
        modality: What the images show: ``depth``, ``rgb``.
        channels: How many channels an image has, C.
        suffixes: Of the files that can be read, in lower case.
        kinds: These files, in words.
    """

    size: int
    profile: InputProfile | None = None

    modality: str = field(init=False, default="")
    channels: ClassVar[int]
    suffixes: ClassVar[tuple[str, ...]]
    kinds: ClassVar[str]

    @property
    def canvas(self) -> Canvas:
        """What the images are brought to: a square, unless the profile says another."""
        kept = self.profile.canvas if self.profile else None
        return kept or Canvas.square(self.size)

    @abstractmethod
    def read(self, path: Path) -> NDArray[Any]:
        """Read a file as it is stored; code in a file is never run.

        Raises:
            DataError: It cannot be read, or is of another kind.
        """

    @abstractmethod
    def see(self, array: NDArray[Any], name: str) -> SeenImage:
        """Turn an image into what the model sees.

        Args:
            array: As :meth:`read` gives it.
            name: The image, for messages.

        Raises:
            DataError: The array is of another kind, or cannot show what the model was trained on.
        """

    @abstractmethod
    def in_unit(self, unit: str) -> Self:
        """Return the same for files whose lengths are in another unit, ``m`` or ``mm``.

        Raises:
            ConfigError: There is no such unit, or the images have no lengths.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return all of it but the size as JSON has it."""


def input_spec(modality: str, size: int, record: Mapping[str, Any] | None = None) -> InputSpec:
    """Return how images of a modality are read.

    Args:
        modality: ``depth``, or any other for photographs.
        size: S, the side of what the model sees.
        record: What :meth:`InputSpec.to_json` gave; what is left out is as in earlier versions.

    Raises:
        ConfigError: A value is out of range.
        KeyError: A key is missing.
        TypeError: A value is of another kind.
    """
    known = record or {}
    profile = InputProfile.from_json(known.get("profile"))
    if modality != DEPTH:
        return PhotographInput(size, profile, modality)
    return DepthInput(
        size,
        profile,
        DepthRules.from_json(known.get("rules")),
        known.get("part_above"),
        known.get("png_holes", True),
    )


@dataclass(frozen=True)
class DepthInput(InputSpec):
    """Depth maps and organised points.

    Attributes:
        rules: How files are read; as the training images were.
        part_above: The threshold with which ``fsad data prepare`` made the images that the model
            was trained on, in the unit of their points; None for images as they came. New images
            are prepared the same way, which needs points.
        png_holes: Whether 0 in a depth png is a pixel without depth; in Eyecandies' it is not.
    """

    rules: DepthRules = field(default_factory=DepthRules)
    part_above: float | None = None
    png_holes: bool = True

    modality: str = field(init=False, default=DEPTH)
    channels: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = depth_file.SUFFIXES
    kinds: ClassVar[str] = depth_file.KINDS

    def read(self, path: Path) -> NDArray[Any]:
        """Read depth ``(H, W)`` or points ``(H, W, 3)``.

        In a png without holes 0 is the nearest, and 1 is added to all: depth is scaled to its own
        extremes, so that nothing else changes.
        """
        values = depth_file.read_depth_file(path)
        if self.png_holes or path.suffix.lower() != ".png":
            return values
        return values + np.float32(1)

    def see(self, array: NDArray[Any], name: str) -> SeenImage:
        """Turn depth or points into an image, see :func:`~fsad.data.depth.depth_pixels`.

        Args:
            array: Depth ``(H, W)``, 0 or not finite where there is none, or organised points
                ``(H, W, 3)``, whose third channel is depth.
            name: The image, for messages.

        Raises:
            DataError: The array is of another kind, has no valid depth, or none that could be
                scored: its range is collapsed, or its points are in another order or of another
                size.
        """
        z, region, notes = self._depth(array, name)
        pixels = depth_pixels(z, self.size, region, name, self.rules.shrink)
        if pixels.max() == pixels.min():
            notes.append(f"{name}: expected some relief, got the same depth everywhere")
        return SeenImage(pixels[None], (z.shape[0], z.shape[1]), self.canvas.shape, tuple(notes))

    def in_unit(self, unit: str) -> Self:
        """Return the same for files in another unit, ``m`` or ``mm``."""
        return replace(self, rules=self.rules.in_unit(unit))

    def to_json(self) -> dict[str, Any]:
        """Return all of it but the size as JSON has it."""
        return {
            "profile": self.profile.to_json() if self.profile else None,
            "rules": self.rules.to_json(),
            "part_above": self.part_above,
            "png_holes": self.png_holes,
        }

    def _depth(
        self, array: NDArray[Any], name: str
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None, list[str]]:
        """Return depth as the training images', where its holes are filled, and what is unlike."""
        z = self.rules.depth(array, name)
        odd_ones = oddities(array, z, self.rules)
        for oddity in odd_ones:
            if oddity.misleads:
                raise DataError(f"{name}: {oddity.problem}")
        notes = [f"{name}: {odd.problem}" for odd in odd_ones if odd.kind == "far"]
        if self.part_above is None:
            return z, None, [*notes, *self._unlike(array, self.rules, name)]
        points = self.rules.points(array, name)
        seed = hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()  # of the plane's fit
        try:
            points, part = isolate(points, self.part_above, np.random.default_rng(list(seed)))
        except DataError as error:
            self._unlike(array, self.rules, name)  # another unit is the better reason
            raise DataError(f"{name}: {str(error).removeprefix('xyz: ')}") from error
        rules = DepthRules(shrink=self.rules.shrink)  # the rest is done
        return rules.depth(points, name), part, self._unlike(points, rules, name)

    def _unlike(self, array: NDArray[Any], rules: DepthRules, name: str) -> list[str]:
        if self.profile is None:
            return []
        matters = self.part_above is not None
        return self.profile.compare(InputProfile.of([array], rules), name, unit_matters=matters)


@dataclass(frozen=True)
class PhotographInput(InputSpec):
    """Colour and grey images.

    Attributes:
        modality: What they are called: ``rgb``, or another camera's name.
    """

    modality: str = "rgb"
    channels: ClassVar[int] = 3
    suffixes: ClassVar[tuple[str, ...]] = images.SUFFIXES
    kinds: ClassVar[str] = images.KINDS

    def read(self, path: Path) -> NDArray[Any]:
        """Read a photograph as a person sees it, ``(H, W, 3)`` uint8."""
        return read_rgb(path)

    def see(self, array: NDArray[Any], name: str) -> SeenImage:
        """Resize a photograph, see :func:`~fsad.data.images.rgb_pixels`.

        Args:
            array: ``(H, W, 3)`` or, grey, ``(H, W)``, uint8.
            name: The image, for messages.

        Raises:
            DataError: The array is of another kind.
        """
        rgb = check_photograph(name, array)
        canvas = self.canvas
        pixels = rgb_pixels(rgb, canvas)
        height, width = rgb.shape[:2]
        notes = []
        if self.profile is not None:
            notes = self.profile.compare(InputProfile(width / height), name)
        if rgb.max() == rgb.min():
            notes.append(f"{name}: expected some contrast, got the same colour everywhere")
        return SeenImage(pixels, (height, width), canvas.area(height, width), tuple(notes))

    def in_unit(self, unit: str) -> Self:
        """Refuse: a photograph has no lengths."""
        raise ConfigError(
            f"--unit: expected none with a model of {self.modality} images, got {unit!r}. Leave it "
            "out: a photograph has no unit of length."
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it but the size as JSON has it."""
        return {"profile": self.profile.to_json() if self.profile else None}
