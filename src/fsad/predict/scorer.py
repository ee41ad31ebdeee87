"""What predicts: anything that scores images as NumPy arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fsad.errors import NonFiniteError, check_finite
from fsad.predict.model_file.metadata import MAP, SCORE

Pixels = NDArray[np.float32]


class Scored(NamedTuple):
    """Scores of some images; higher = more anomalous.

    Attributes:
        score: The method's own image scores, ``(n,)``.
        parts: Image scores of each part of the method's score by its name, ``(n,)``, such as
            ``source`` and ``target``, against each domain; none where the method names none.
        maps: Anomaly maps, ``(n, S, S)``; None where the method has none.
    """

    score: Pixels
    parts: Mapping[str, Pixels]
    maps: Pixels | None

    @classmethod
    def of_outputs(cls, values: Mapping[str, Pixels]) -> "Scored":
        """Return what an exported model gave, by its outputs' names."""
        prefix = f"{SCORE}_"
        parts = {
            name.removeprefix(prefix): value
            for name, value in values.items()
            if name.startswith(prefix)
        }
        return cls(values[SCORE], parts, values.get(MAP))

    def checked(self) -> "Scored":
        """Return these scores if all of them are numbers.

        The maps are looked at too: a maximum, as a score may be of a map, can lose a NaN.

        Raises:
            NonFiniteError: Something is NaN or infinite.
        """
        parts = {f"score_{name}": values for name, values in self.parts.items()}
        for name, values in {"score": self.score, **parts, "map": self.maps}.items():
            if values is not None and not np.isfinite(values).all():
                raise NonFiniteError(
                    f"{name}: expected a finite number, got NaN or infinity. Look at the image."
                )
        return self


class Scorer(Protocol):
    """A trained model of one category: a run read back, or an exported one."""

    @property
    def image_size(self) -> int:
        """Height and width of the images that it takes, in pixels, S."""
        ...

    def score(self, images: Pixels) -> Scored:
        """Score images.

        Args:
            images: ``(n, C, S, S)`` float32 in [0, 1], as its
                :class:`~fsad.data.input.InputSpec` makes them.

        Raises:
            NonFiniteError: A score or a value of a map is NaN or infinite.
        """
        ...


@dataclass(frozen=True)
class Limits:
    """Where good ends.

    Attributes:
        image: An image that scores above it is defective; None decides nothing.
        map: Where the map is above it, a region is outlined; None outlines nothing.
        false_alarm_rate: Share of good images expected above ``image``; None where unknown.
        note: What they rest on.

    Raises:
        ConfigError: ``image`` or ``map`` is NaN or infinite: nothing would lie above it.
    """

    image: float | None = None
    map: float | None = None
    false_alarm_rate: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for name, value in (("threshold", self.image), ("map_threshold", self.map)):
            if value is not None:
                check_finite(name, value)
