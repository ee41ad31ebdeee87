"""A finished run as a predictor. The only file of this package that needs torch."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from fsad.data.depth_rules import DepthRules
from fsad.data.input import DEPTH, DepthInput, InputSpec, PhotographInput
from fsad.data.record import PREPARED, ZERO, prepared_as
from fsad.engine.stored import DATA_SETTINGS, blaming
from fsad.engine.trained import TrainedModel, load_trained
from fsad.errors import ConfigError, DataError
from fsad.predict.predictor import Predictor
from fsad.predict.scorer import Limits, Pixels, Scored
from fsad.scores.threshold import THRESHOLD, read_threshold


class TrainedScorer:
    """A category of a finished run, as a :class:`~fsad.predict.scorer.Scorer`.

    Args:
        trained: The category.
    """

    def __init__(self, trained: TrainedModel) -> None:
        self.trained = trained

    @property
    def image_size(self) -> int:
        """Height and width of the images that it takes, in pixels, S."""
        return self.trained.image_size

    def score(self, images: Pixels) -> Scored:
        """Score images ``(n, C, S, S)``.

        Raises:
            NonFiniteError: A score or a value of a map is NaN or infinite.
        """
        scores = self.trained.score(torch.from_numpy(images).expand(-1, 3, -1, -1))
        main, maps = self.trained.combined(scores)
        parts = {name: part.images.numpy() for name, part in scores.items()}
        return Scored(main.numpy(), parts, None if maps is None else maps.numpy()).checked()


def load_run(
    run: Path,
    category: str | None = None,
    device: str = "cpu",
    weights_path: Path | None = None,
) -> Predictor:
    """Read a finished run back, ready to predict.

    Raises:
        FsadError: As :func:`~fsad.engine.trained.load_trained`.
        DataError: The threshold cannot be read, or nobody knows how the images were prepared.
    """
    trained = load_trained(run, category, device, weights_path)
    threshold = read_threshold(trained.folder / THRESHOLD)
    limits = Limits(threshold.image, threshold.map, threshold.false_alarm_rate, threshold.note)
    return Predictor(TrainedScorer(trained), limits, _input(run, trained), trained.category)


def _input(run: Path, trained: TrainedModel) -> InputSpec:
    """Return how the images that the run saw were read."""
    profile = trained.profile
    if trained.modality != DEPTH:
        if _prepared(trained).get("rgb_background") == ZERO:
            raise DataError(
                f"{run}: expected photographs as they came, got a run on some that were made black "
                "beside the part, which is found in depth: new photographs alone cannot be "
                "prepared so. Prepare the data again without --rgb-background zero, and train."
            )
        return PhotographInput(trained.image_size, profile, trained.modality)
    above, rules = _preparation(run, trained)
    return DepthInput(trained.image_size, profile, rules, above, trained.png_holes)


def _preparation(run: Path, trained: TrainedModel) -> tuple[float | None, DepthRules]:
    """Tell how the depth that the run saw was prepared and read.

    Earlier runs did not note the preparation; their data may still say it.
    """
    settings: Any = OmegaConf.to_container(trained.config.data)
    with blaming(str(run)):
        _refuse_unknown(settings)
        rules = DepthRules.of(settings)
    prepared = _prepared(trained)
    if not prepared:
        return None, rules
    if prepared["threshold"] is None:
        raise DataError(
            f"{settings['root']}: expected {PREPARED} beside prepared images, got none: "
            "new images cannot be prepared as these were. Copy it there and run again."
        )
    source = DepthRules.from_json(prepared.get("rules"))
    return float(prepared["threshold"]), replace(source, shrink=rules.shrink)


def _prepared(trained: TrainedModel) -> Mapping[str, Any]:
    prepared: Mapping[str, Any] | None = trained.record.get("prepared")
    return prepared_as(Path(trained.config.data.root)) if prepared is None else prepared


def _refuse_unknown(settings: Mapping[str, Any]) -> None:
    """Refuse a setting that the data do not take: one whose name is damaged would be left out.

    Raises:
        ConfigError: There is one.
    """
    if unknown := settings.keys() - {*DATA_SETTINGS, "_target_"}:
        raise ConfigError(f"data.{min(unknown)}: expected a setting of the data, got another name")
