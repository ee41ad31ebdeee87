"""What is said of one image."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsad.errors import DataError
from fsad.predict.outlines import Outline, outlines


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is said of one image; scores are distances, higher = more anomalous.

    Attributes:
        path: The file; None for an array.
        score: The method's own score of the image.
        parts: The image's score by each part of the method's score: of a method with two domains
            ``source``, against the plentiful images, and ``target``, against the shots.
        threshold: What ``score`` is compared with; None where there is none.
        decision: ``good`` or ``defective`` (``score`` above ``threshold``); None without threshold.
        map: Anomaly map at the input's size, ``(H, W)`` float32, in the unit of the scores. It is
            measured at the size of ``seen`` and resized, bilinear, so that it lies on the input
            pixel by pixel.
            None where the method scores whole images alone.
        map_threshold: Where the map is above it, :meth:`outlines` draws; None where there is none.
        seen: The image that was scored, ``(C, S, S)`` float32 in [0, 1]: one channel of depth, in
            {0} or [0.1, 0.9], or three of colour. Of a model that keeps the images' shape it is no
            square.
        seconds: From the file, or the array, to this.
        notes: How the image is unlike the training images, one sentence each; mostly none.

    Examples:
        >>> import fsad
        >>> prediction = fsad.load("outputs/hypertrans").predict("part.tiff")
        >>> (prediction.decision == "defective") == (prediction.score > prediction.threshold)
        True
    """

    path: Path | None
    score: float
    parts: Mapping[str, float]
    threshold: float | None
    decision: str | None
    map: NDArray[np.float32] | None
    map_threshold: float | None
    seen: NDArray[np.float32]
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def score_source(self) -> float | None:
        """Score against the source domain; None where the method has none."""
        return self.parts.get("source")

    @property
    def score_target(self) -> float | None:
        """Score against the target domain, the shots; None where the method has none."""
        return self.parts.get("target")

    @property
    def pixels(self) -> NDArray[np.float32]:
        """The map, for what can do nothing without.

        Raises:
            DataError: There is none.
        """
        if self.map is None:
            raise DataError("map: expected one, got a method that scores whole images alone")
        return self.map

    def outlines(self) -> list[Outline]:
        """Return the outlines of the map's regions above its threshold; none without both."""
        if self.map is None or self.map_threshold is None:
            return []
        return outlines(self.map, self.map_threshold)
