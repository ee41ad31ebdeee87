"""What predicts: anything that scores depth images as NumPy arrays."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fsad.errors import NonFiniteError, check_finite

Pixels = NDArray[np.float32]


class Scored(NamedTuple):
    """Scores of some images; higher = more anomalous.

    Attributes:
        score: The method's own image scores, ``(n,)``.
        source: Scores against the source domain, ``(n,)``; None where the method has none.
        target: Scores against the target domain.
        maps: Anomaly maps, ``(n, S, S)``; None where the method has none.
    """

    score: Pixels
    source: Pixels | None
    target: Pixels | None
    maps: Pixels | None

    def checked(self) -> "Scored":
        """Return these scores if all of them are numbers.

        The maps are looked at too: a maximum, as a score may be of a map, can lose a NaN.

        Raises:
            NonFiniteError: Something is NaN or infinite.
        """
        for name, values in zip(
            ("score", "score_source", "score_target", "map"), self, strict=True
        ):
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
        """Score depth images.

        Args:
            images: ``(n, 3, S, S)`` float32 in [0, 1], three times what
                :func:`~fsad.data.depth.depth_pixels` makes.

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
