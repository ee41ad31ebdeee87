"""A trained model that is handed files or arrays, and says what it thinks of them."""

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsad.data.depth import depth_pixels
from fsad.data.depth_rules import DepthRules
from fsad.data.oddities import oddities
from fsad.data.prepare.isolate import isolate
from fsad.data.profile import InputProfile
from fsad.errors import DataError
from fsad.predict.images import read_array
from fsad.predict.prediction import Prediction
from fsad.predict.scorer import Limits, Scorer


class Predictor:
    """Predicts on one image after the other; an image's prediction does not depend on the others.

    Args:
        scorer: The trained model.
        limits: Where good ends.
        category: What the model was trained on.
        part_above: The threshold with which ``fsad data prepare`` made the images that the model
            was trained on, in the unit of their points; None for images as they came. Queries are
            prepared the same way, which needs points.
        png_holes: Whether 0 in a depth png is a pixel without depth; in Eyecandies' it is not.
        rules: How images are read; as the training images were.
        profile: What the training images looked like; None where nobody noted it.

    Examples:
        >>> import numpy as np
        >>> import fsad
        >>> model = fsad.load("outputs/hypertrans")
        >>> depth = 0.5 + 0.01 * np.random.default_rng(0).random((60, 80))
        >>> model.predict(depth).map.shape
        (60, 80)
    """

    def __init__(
        self,
        scorer: Scorer,
        limits: Limits,
        category: str = "",
        part_above: float | None = None,
        png_holes: bool = True,
        rules: DepthRules | None = None,
        profile: InputProfile | None = None,
    ) -> None:
        self.scorer, self.limits = scorer, limits
        self.category, self.part_above, self.png_holes = category, part_above, png_holes
        self.rules, self.profile = rules or DepthRules(), profile

    def predict(self, image: NDArray[Any] | Path | str) -> Prediction:
        """Predict on one image.

        Args:
            image: A file, or an array: depth ``(H, W)``, 0 or not finite where there is none, or
                organised points ``(H, W, 3)``, whose third channel is depth. Points are in the
                unit of the training images; depth alone may be in any.

        Returns:
            The prediction, with ``notes`` where the image is not like those of the training.

        Raises:
            DataError: The image cannot be read, has no valid depth, or none that could be scored:
                its range is collapsed, or its points are in another order or of another size.
        """
        start = time.perf_counter()
        path = None if isinstance(image, np.ndarray) else Path(image)
        array = image if isinstance(image, np.ndarray) else read_array(Path(image), self.png_holes)
        name = str(path or "image")
        z, region, notes = self._depth(array, name)
        seen = depth_pixels(z, self.scorer.image_size, region, name, self.rules.shrink)
        if seen.max() == seen.min():
            notes.append(f"{name}: expected some relief, got the same depth everywhere")
        scored = self.scorer.score(np.stack([seen, seen, seen])[None])
        score, limits = float(scored.score[0]), self.limits
        decision = None
        if limits.image is not None:
            decision = "defective" if score > limits.image else "good"
        return Prediction(
            path=path,
            score=score,
            score_source=None if scored.source is None else float(scored.source[0]),
            score_target=None if scored.target is None else float(scored.target[0]),
            threshold=limits.image,
            decision=decision,
            map=None if scored.maps is None else resized(scored.maps[0], z.shape),
            map_threshold=limits.map,
            seen=seen,
            seconds=time.perf_counter() - start,
            notes=tuple(notes),
        )

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
        return self.profile.compare(array, rules, name, unit_matters=matters)


def resized(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Resize a map to ``(H, W)``, bilinear; no value lies outside those it is made of."""
    height, width = shape
    if values.shape == (height, width):
        return values
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
