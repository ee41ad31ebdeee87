"""Predictions as pictures: the map in 16 bits, and the image with the map laid over it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fsad.predict.prediction import Prediction
from fsad.predict.predictor import resized
from fsad.scores.colormap import coloured

ZERO = 8192  # the png's value where the map is 0
OPAQUE = 0.75  # how much of the image the strongest colour hides
LINE = (255, 70, 70)
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""Shares of red, green and blue in grey: ITU-R BT.601."""


@dataclass(frozen=True)
class MapScale:
    r"""How a map's values become the 16-bit numbers of a png, the same for all images.

    .. math:: v = \operatorname{round}\big(8192 \, (1 + m / r)\big)

    clipped to [0, 65535]: 8192 is a map of 0 and 16384 one of r; the largest that fits is 7 r. Back
    again :math:`m = r \, (v / 8192 - 1)`, to within r / 16384.

    Attributes:
        reference: r, above 0, in the unit of the map: the map's threshold, or without one the
            highest value of the first image's map.
    """

    reference: float

    @classmethod
    def of(cls, prediction: Prediction) -> "MapScale":
        """Choose the scale when the first image is there."""
        limit = prediction.map_threshold
        reference = abs(float(prediction.pixels.max()) if limit is None else limit)
        return cls(reference if reference > 1e-12 else 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return what is stored beside the pngs."""
        return {
            "reference": self.reference,
            "zero": ZERO,
            "map": "reference * (png / zero - 1)",
            "highest": self.reference * (65535 / ZERO - 1),
        }

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Turn a map ``(H, W)`` into numbers of 16 bits."""
        numbers = np.rint(ZERO * (1 + values.astype(np.float64) / self.reference))
        return numbers.clip(0, 65535).astype(np.uint16)


def grey_of(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image ``(C, S, S)`` in grey, ``(S, S)``; of colours their luminance (BT.601)."""
    return seen[0] if len(seen) == 1 else np.tensordot(LUMINANCE, seen, 1)


def overlay(prediction: Prediction, scale: MapScale) -> Image.Image:
    """Lay the map's colours over the image at the input's size, and outline defects.

    Depth and colour are shown in grey, so that every colour is the map's.

    Below half the reference nothing is coloured; from twice the reference on all is yellow.
    """
    values = prediction.pixels
    grey = resized(grey_of(prediction.seen), values.shape) * 255
    base = np.repeat(grey[..., None], 3, axis=2)
    high = 2 * scale.reference
    share = OPAQUE * ((values - high / 4) / (high - high / 4)).clip(0, 1)[..., None]
    mixed = base * (1 - share) + coloured(values, 0.0, high) * share
    picture = Image.fromarray(mixed.round().astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    width = max(1, round(max(values.shape) / 300))
    for outline in prediction.outlines():
        draw.line([(x, y) for x, y in outline.points], fill=LINE, width=width)
    return picture
