"""A finished run as a predictor. The only file of this package that needs torch."""

from collections.abc import Mapping
from pathlib import Path

import torch

from fsad.data.record import PREPARED, prepared_as
from fsad.errors import DataError
from fsad.predict.predictor import Predictor
from fsad.predict.scorer import Limits, Pixels, Scored
from fsad.run_record import read_category
from fsad.scored import Scores
from fsad.threshold import THRESHOLD, read_threshold
from fsad.trained import Trained, load_trained


class TrainedScorer:
    """A category of a finished run, as a :class:`~fsad.predict.scorer.Scorer`.

    Args:
        trained: The category.
    """

    def __init__(self, trained: Trained) -> None:
        self.trained = trained

    @property
    def image_size(self) -> int:
        """Height and width of the images that it takes, in pixels, S."""
        return self.trained.image_size

    def score(self, images: Pixels) -> Scored:
        """Score depth images ``(n, 3, S, S)``."""
        scores = self.trained.score(torch.from_numpy(images))
        fused, maps = self.trained.fused(scores)
        return Scored(
            fused.numpy(), _alone(scores, "source"), _alone(scores, "target"), maps.numpy()
        )


def _alone(scores: Mapping[str, Scores], domain: str) -> Pixels | None:
    values: Pixels | None = scores[domain].images.numpy() if domain in scores else None
    return values


def load_run(
    run: Path,
    category: str | None = None,
    device: str = "cpu",
    weights_path: Path | None = None,
) -> Predictor:
    """Read a finished run back, ready to predict.

    Raises:
        FsadError: As :func:`~fsad.trained.load_trained`.
        DataError: The threshold cannot be read, or nobody knows how the images were prepared.
    """
    trained = load_trained(run, category, device, weights_path)
    found = read_threshold(trained.folder / THRESHOLD)
    limits = Limits(found.image, found.map, found.false_alarm_rate, found.note)
    scorer, above = TrainedScorer(trained), _part_above(trained)
    return Predictor(scorer, limits, trained.category, above, trained.png_holes)


def _part_above(trained: Trained) -> float | None:
    """Tell how the images that the run saw were prepared; earlier runs' data may still say."""
    prepared = read_category(trained.folder).get("prepared")
    if prepared is None:
        prepared = prepared_as(Path(trained.config.data.root))
    if not prepared:
        return None
    if prepared["threshold"] is None:
        raise DataError(
            f"{trained.config.data.root}: expected {PREPARED} beside prepared images, got none: "
            "new images cannot be prepared as these were. Copy it there and run again."
        )
    return float(prepared["threshold"])
