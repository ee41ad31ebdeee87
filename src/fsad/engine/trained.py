"""One category of a finished run, read back and ready to score images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor

from fsad.data.canvas import Canvas
from fsad.data.layout import reader_class
from fsad.data.profile import InputProfile
from fsad.engine.artifacts import trained_plan
from fsad.engine.assemble import (
    build_extractor,
    build_method,
    refuse_foreign,
    unwrap_hydra_errors,
    weights_setting,
)
from fsad.engine.checkpoint import refuse_other_backbone
from fsad.engine.plan import Plan
from fsad.engine.scorer import Control, Scorer
from fsad.engine.stored import blaming, stored_config
from fsad.errors import ConfigError, DataError, MissingDataError, RunError, WeightsError
from fsad.nn.extractor import PatchExtractor
from fsad.results.record import CATEGORY, read_category, read_result
from fsad.scores.combination import Combination, MapMaker
from fsad.scores.score_set import Scores, ScoreSet


@dataclass(frozen=True)
class TrainedModel:
    """A category's trained scorer, with its banks filled.

    Law (``tests/predict/test_trained.py``): the run's own test images get the scores of its
    ``scores.csv``, and the maps that it drew.

    Attributes:
        category: Its name.
        method: The method's name.
        config: The run's settings.
        folder: Where the category's own files lie.
        record: The category's ``category.json``.
        plan: What the method laid out; its ``scorer`` is in evaluation mode.
        maker: How patch scores become maps, and the parts of a score one.
        canvas: What images are brought to.
        profile: What the training images looked like; None where nobody noted it.
    """

    category: str
    method: str
    config: DictConfig
    folder: Path
    record: Mapping[str, Any]
    plan: Plan
    maker: MapMaker
    canvas: Canvas
    profile: InputProfile | None

    @property
    def scorer(self) -> Scorer:
        """What scores."""
        return self.plan.scorer

    @property
    def extractor(self) -> PatchExtractor:
        """The frozen backbone."""
        return self.scorer.extractor.extractor

    @property
    def image_size(self) -> int:
        """Height and width of the images that it scores, and of the maps, in pixels, S.

        Of the shorter side where they keep their shape.
        """
        return min(self.canvas.shape)

    @property
    def combination(self) -> Combination:
        """How the parts of a score become one."""
        return self.maker.combination

    @property
    def sigma(self) -> float:
        """Blur of the maps in pixels."""
        return self.maker.sigma

    @property
    def modality(self) -> str:
        """What the images that it scores show: ``depth``, ``rgb``."""
        return self.extractor.modalities["target"]

    @property
    def png_holes(self) -> bool:
        """Whether 0 in a depth png of its dataset is a pixel without depth."""
        reader = reader_class(str(OmegaConf.select(self.config, "data.reader._target_")))
        return reader is None or reader.png_holes

    @torch.no_grad()
    def score(self, images: Tensor) -> dict[str, Scores]:
        """Score images, part by part.

        Args:
            images: ``(n, 3, S, S)`` of the canvas, values in [0, 1] where an image is, as
                :func:`~fsad.data.transforms.load_tensors` makes them.

        Returns:
            Patch scores ``(n, h, w)`` and image scores ``(n,)`` by part, float32 on the CPU;
            higher = more anomalous.

        Raises:
            ShapeError: ``images`` has another shape.
        """
        parts = self.scorer.parts(images.to(self.scorer.device))
        return {
            name: Scores(None if each.patches is None else each.patches.cpu(), each.images.cpu())
            for name, each in parts.items()
        }

    def combined(self, scores: ScoreSet) -> tuple[Tensor, Tensor | None]:
        """Put the parts together.

        Args:
            scores: What :meth:`score` gave.

        Returns:
            The method's own image scores, ``(n,)``, and anomaly maps, ``(n, S, S)``, if it has
            maps.
        """
        return self.maker.combine(scores)


def load_trained(
    run: Path,
    category: str | None = None,
    device: str = "cpu",
    weights_path: Path | None = None,
) -> TrainedModel:
    """Read one category of a finished run back. The dataset is not needed.

    Args:
        run: The run's folder.
        category: Which; may be omitted where there is one.
        device: Where to compute, as torch names it.
        weights_path: The backbone's file of weights, where it lies elsewhere by now.

    Raises:
        MissingDataError: There is no such run, or it has no finished category, or lacks a file.
        ConfigError: The category is not among the run's, or has to be chosen.
        DataError: A file is damaged or foreign. Nothing in it is ever run.
        RunError: The backbone is another one, or the method scores no single image.
        WeightsError: The backbone's weights cannot be had.

    Note:
        ``config.yaml`` says which classes are built. Only classes that are a method or a backbone
        are, but their packages are imported: read back runs of people you trust.
    """
    config = stored_config(str(run), "run")
    name = choose_category(run, category)
    if not (run / "result.json").exists():
        raise MissingDataError(
            f"{run}: expected a finished run, got one without result.json. "
            f"Finish it with: python train.py resume={run}"
        )
    backbone = read_result(run / "result.json").backbone
    folder = _trained_in(run, config) / "categories" / name
    if weights_path is not None:
        _set_weights(config, weights_path)
    with blaming(str(run)):
        refuse_foreign(config)
        with unwrap_hydra_errors():
            method = build_method(config)
        extractor = _extractor(config, method)
    method.refuse_modality(extractor.modalities["target"])
    refuse_other_backbone(backbone, extractor)
    own = run / "categories" / name
    record = read_category(own)
    profile = _profile(own, record)
    canvas = Canvas.square(extractor.image_size[0])
    if profile and profile.canvas:
        canvas = profile.canvas
        extractor = build_extractor(config, method, canvas=canvas)
    plan = trained_plan(method, extractor, folder, _device(device))
    scorer = plan.scorer
    refuse_control(method.name, scorer)
    with torch.no_grad():
        scorer.prepare()
    combination = Combination.of(record, plan.combination)
    maker = MapMaker(canvas.shape, record.get("sigma", plan.sigma), combination)
    return TrainedModel(name, method.name, config, own, record, plan, maker, canvas, profile)


def _profile(folder: Path, record: Mapping[str, Any]) -> InputProfile | None:
    try:
        return InputProfile.from_json(record.get("input"))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{folder / CATEGORY}: expected the shape of the training images, got something else. "
            "Copy the whole folder of the run."
        ) from error


def refuse_control(method: str, scorer: Scorer) -> None:
    """Refuse a method whose scores are no function of the image.

    Args:
        method: Its name.
        scorer: What scores.

    Raises:
        RunError: It cannot predict.
    """
    if isinstance(scorer, Control):
        raise RunError(
            f"method: expected one that scores an image by itself, got {method}. "
            "It is a control: its scores are those of a run's test images."
        )


def choose_category(run: Path, category: str | None) -> str:
    """Return the category asked for, or the run's only one.

    Raises:
        MissingDataError: The run has no finished category, or this one is not finished.
        ConfigError: It has not the one asked for, or several and none is asked for.
    """
    known = sorted(path.parent.name for path in run.glob(f"categories/*/{CATEGORY}"))
    if not known:
        raise MissingDataError(
            f"{run}: expected a run with a finished category, got none. "
            f"Finish it with: python train.py resume={run}"
        )
    if category is None and len(known) == 1:
        return known[0]
    if category in known:
        return category
    if category is not None and (run / "categories" / category).exists():
        raise MissingDataError(
            f"category: expected one of {', '.join(known)}, got '{category}', which is not "
            f"finished. Finish it with: python train.py resume={run}"
        )
    got = "none" if category is None else repr(category)
    raise ConfigError(
        f"category: expected one of {', '.join(known)}, got {got}. Pass one: --category NAME, "
        "or category= in Python."
    )


def _trained_in(run: Path, config: DictConfig) -> Path:
    """Return the folder of the run that trained: a re-test has no stages or banks of its own."""
    if not config.ckpt:
        return run
    if not Path(config.ckpt).is_dir():
        raise MissingDataError(
            f"ckpt: expected the run that '{run}' tested again, at '{config.ckpt}', got nothing "
            "there. Move it back, or test it again where it lies now: python train.py ckpt=RUN_DIR"
        )
    return Path(config.ckpt)


def _set_weights(config: DictConfig, path: Path) -> None:
    """Say where the backbone's weights are by now; of a method with features of its own, there."""
    with open_dict(config):
        OmegaConf.update(config, weights_setting(config), str(path))


def _extractor(config: DictConfig, method: Any) -> PatchExtractor:
    try:
        with unwrap_hydra_errors():
            return build_extractor(config, method)
    except WeightsError as error:
        problem = str(error).rstrip(".")
        raise WeightsError(f"{problem}. Name the file with --weights-path.") from error


def _device(name: str) -> torch.device:
    """Return a device that is there.

    Raises:
        ConfigError: It is not.
    """
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError(device.type)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device: expected cpu or a GPU such as cuda, got {name!r}") from error
    return device
