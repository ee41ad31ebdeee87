"""A trained model that is handed files or arrays, and says what it thinks of them."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsad.data.input import InputSpec
from fsad.predict.prediction import Prediction
from fsad.predict.scorer import Limits, Scorer


class Predictor:
    """Predicts on one image after the other; an image's prediction does not depend on the others.

    Args:
        scorer: The trained model.
        limits: Where good ends.
        category: What the model was trained on.
        input: How images are read; as the training images were.

    Examples:
        >>> import numpy as np
        >>> import fsad
        >>> model = fsad.load("outputs/hypertrans")
        >>> depth = 0.5 + 0.01 * np.random.default_rng(0).random((60, 80))
        >>> model.predict(depth).map.shape
        (60, 80)
    """

    def __init__(
        self, scorer: Scorer, limits: Limits, input: InputSpec, category: str = ""
    ) -> None:
        self.scorer, self.limits, self.input, self.category = scorer, limits, input, category

    def predict(self, image: NDArray[Any] | Path | str) -> Prediction:
        """Predict on one image.

        Args:
            image: A file, or an array. Of a model of depth: depth ``(H, W)``, 0 or not finite where
                there is none, or organised points ``(H, W, 3)``, whose third channel is depth.
                Points are in the unit of the training images; depth alone may be in any. Of a
                model of photographs: RGB ``(H, W, 3)`` or grey ``(H, W)``, uint8.

        Returns:
            The prediction, with ``notes`` where the image is not like those of the training.

        Raises:
            DataError: The image cannot be read, has no valid depth, or none that could be scored:
                its range is collapsed, or its points are in another order or of another size.
        """
        start = time.perf_counter()
        path = None if isinstance(image, np.ndarray) else Path(image)
        array = image if isinstance(image, np.ndarray) else self.input.read(Path(image))
        seen = self.input.see(array, str(path or "image"))
        scored = self.scorer.score(seen.pixels[None])
        score, limits = float(scored.score[0]), self.limits
        height, width = seen.area  # what is beside the image is none of it
        decision = None
        if limits.image is not None:
            decision = "defective" if score > limits.image else "good"
        return Prediction(
            path=path,
            score=score,
            parts={name: float(values[0]) for name, values in scored.parts.items()},
            threshold=limits.image,
            decision=decision,
            map=None
            if scored.maps is None
            else resized(scored.maps[0, :height, :width], seen.size),
            map_threshold=limits.map,
            seen=seen.pixels[:, :height, :width],
            seconds=time.perf_counter() - start,
            notes=seen.notes,
        )


def resized(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Resize a map to ``(H, W)``, bilinear; no value lies outside those it is made of."""
    height, width = shape
    if values.shape == (height, width):
        return values
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
