"""The shape of a run's configuration, and how a run takes over another run's settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from fsad.errors import ConfigError, MissingDataError, RunError

TRAINED = ("data", "backbone", "method", "seed")
"""What decides a run's numbers; ``ckpt`` and ``resume`` take these from the run they name."""

FREE_TO_TEST = (
    "method.beta",
    "method.rectify_banks",
    "method.sigma",
    "data.category",
    "data.root",
    "data.batch_size",
    "data.workers",
    "backbone.weights_path",
)
"""Settings that ``ckpt`` lets change, because they leave what was trained as it was."""


@dataclass
class Run:
    """The top level of the configuration; an unknown key is refused.

    Attributes:
        data: Which pairs: a ``PairDataModule``.
        backbone: Which frozen feature extractor: a ``PatchExtractor``.
        method: Which method, with all its settings.
        trainer: Keywords of ``lightning.Trainer`` common to all stages.
        callbacks: Observers by name.
        logger: Loggers by name.
        paths: Where results go.
        seed: Seed of everything random.
        maps: Whether to write a picture of every test image.
        ckpt: Folder of a finished run to test again without training.
        resume: Folder of an interrupted run to go on with.
    """

    data: Any = MISSING
    backbone: Any = MISSING
    method: Any = MISSING
    trainer: Any = MISSING
    callbacks: Any = None
    logger: Any = None
    paths: Any = MISSING
    seed: int = 0
    maps: bool = True
    ckpt: Optional[str] = None  # noqa: UP045 (OmegaConf reads this form)
    resume: Optional[str] = None  # noqa: UP045


def register() -> None:
    """Make the schema known to Hydra under the name ``schema``."""
    ConfigStore.instance().store(name="schema", node=Run)


def settle(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """Resolve a composed configuration and make it read-only.

    With ``ckpt`` or ``resume`` the settings that decide a run's numbers come from that run's
    ``config.yaml``.

    Args:
        cfg: As Hydra composed it.
        overrides: The command line's overrides.

    Raises:
        ConfigError: A required key is missing, or an override contradicts the stored run.
        MissingDataError: The stored run is not there.
        RunError: Both ``ckpt`` and ``resume`` are given.
    """
    if cfg.ckpt and cfg.resume:
        raise RunError("ckpt, resume: expected one of them, got both")
    with open_dict(cfg):
        if cfg.ckpt or cfg.resume:
            _take_over(cfg, overrides)
        missing = sorted(OmegaConf.missing_keys(cfg))
        if missing:
            raise ConfigError(
                f"{missing[0]}: expected a value, got none. Pass {missing[0]}=... as an argument."
            )
        OmegaConf.resolve(cfg)
    OmegaConf.set_readonly(cfg, True)
    return cfg


def _take_over(cfg: DictConfig, overrides: list[str]) -> None:
    kind = "ckpt" if cfg.ckpt else "resume"
    path = Path(cfg[kind]) / "config.yaml"
    if not path.is_file():
        raise MissingDataError(
            f"{kind}: expected a run's folder with config.yaml, got '{cfg[kind]}'"
        )
    stored = OmegaConf.load(path)
    assert isinstance(stored, DictConfig)
    for key in TRAINED:
        cfg[key] = stored[key]
    free = FREE_TO_TEST if kind == "ckpt" else ()
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key.split(".")[0] not in TRAINED:
            continue
        if key not in free:
            allowed = f"one of {', '.join(free)}" if free else "no settings of its own"
            raise ConfigError(
                f"{kind}: expected {allowed}, got {override.input_line}. "
                "The rest comes from the run; start a new run to change it."
            )
        OmegaConf.update(cfg, key, override.value())


def output_folder(cfg: DictConfig, job_folder: str, job: int | None) -> Path:
    """Tell where a job writes.

    Args:
        cfg: The settled configuration.
        job_folder: The folder Hydra made for this job.
        job: Its number within a multirun, else None.

    Returns:
        The resumed run's folder, or ``paths.output_dir``; within a multirun a ``paths.output_dir``
        shared by all jobs gets one sub-folder per job, so that none overwrites another.
    """
    if cfg.resume:
        return Path(cfg.resume)
    folder = Path(cfg.paths.output_dir)
    if job is not None and folder.resolve() != Path(job_folder).resolve():
        return folder / str(job)
    return folder
