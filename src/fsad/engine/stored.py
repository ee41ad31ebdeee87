"""The settings that a run's folder holds, and their shape."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from hydra.errors import InstantiationException
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fsad.errors import ConfigError, DataError, FsadError, MissingDataError, message_of
from fsad.results.retired import RETIRED, retired_in
from fsad.storage.regular import refuse_irregular

TRAINED = ("data", "source", "protocol", "backbone", "method", "seed")
"""What decides what is trained; ``ckpt`` takes these from the run it names."""

DATA_SETTINGS = (
    "reader",
    "root",
    "category",
    "shots",
    "image_size",
    "batch_size",
    "workers",
    "shot_selection",
    "seed",
    "published",
    "invalid",
    "z_range",
    "unit",
    "shrink",
    "resize",
    "modality",
    "source",
    "target",
)
"""Settings under ``data``, the arguments of :class:`~fsad.data.datamodule.DataModule`: its import
takes seconds, which a prediction need not wait for."""

OPTIONAL = ("source", "callbacks", "logger")
"""What may be none at all."""
NODES = ("data", "protocol", "backbone", "method", "trainer", "paths", "cache", *OPTIONAL)
"""What holds settings of its own."""
RENAMED = {"fsad.data.datamodule.PairDataModule": "fsad.data.datamodule.DataModule"}
"""Classes that have another name by now, as the settings of earlier runs have them."""


@dataclass
class Run:
    """The top level of the configuration; an unknown key is refused.

    Attributes:
        data: Which files: a ``DataModule``.
        source: Another data set that is learnt from alone: a ``SourceData``; None of most
            protocols.
        protocol: Which of them a run may learn from, and which are tested: an
            :class:`~fsad.data.task.EvaluationProtocol`.
        backbone: Which frozen feature extractor: a ``PatchExtractor``.
        method: Which method, with all its settings.
        trainer: Keywords of ``lightning.Trainer`` common to all stages.
        callbacks: Observers by name.
        logger: Loggers by name.
        paths: Where results go.
        cache: What is kept for other runs, and how much of it.
        metrics: ``histogram`` counts scores in fine bins; ``exact`` keeps and sorts every pixel.
        seed: Seed of everything random.
        maps: Whether to write a picture of every test image.
        report: Whether to write ``report.html`` at the end; with ``maps``, samples of features are
            kept for its figures.
        threshold: Whether to set a threshold from the shots at the end, held out of the bank.
        export: Whether to keep each category as an exported file at the end.
        ckpt: Folder of a finished run to test again without training.
        resume: Folder of an interrupted run to go on with; of a sweep in a multirun.
    """

    data: Any = MISSING
    source: Any = None
    protocol: Any = MISSING
    backbone: Any = MISSING
    method: Any = MISSING
    trainer: Any = MISSING
    callbacks: Any = None
    logger: Any = None
    paths: Any = MISSING
    cache: Any = MISSING
    metrics: str = "histogram"
    seed: int = 0
    maps: bool = True
    report: bool = True
    threshold: bool = True
    export: bool = False
    ckpt: Optional[str] = None  # noqa: UP045 (OmegaConf reads this form)
    resume: Optional[str] = None  # noqa: UP045


def stored_config(folder: str, kind: str) -> DictConfig:
    """Read the settings that a run's folder holds, without those that are no more.

    Args:
        folder: The run's folder.
        kind: Where the user named it, for the message.

    Raises:
        MissingDataError: There is no such run.
        DataError: Its ``config.yaml`` cannot be read, or asks for what is no more.
    """
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        raise MissingDataError(
            f"{kind}: expected a run's folder with config.yaml, got '{folder}'. Name the folder "
            "that train.py said it was writing to, where it lies now."
        )
    try:
        refuse_irregular(path)
        stored = OmegaConf.merge(OmegaConf.structured(Run), OmegaConf.load(path))
        _rename(stored)
        _add_protocol(stored)
        _add_resize(stored)
    except Exception as error:  # one that holds itself is a RecursionError, for one
        raise _damaged(path, f"'{message_of(error)}'") from error
    assert isinstance(stored, DictConfig)
    for key in TRAINED:
        if OmegaConf.is_missing(stored, key):
            raise _damaged(path, f"one without '{key}'")
    for key in NODES:
        holds_none = key in OPTIONAL and stored[key] is None
        if not (OmegaConf.is_missing(stored, key) or holds_none or OmegaConf.is_dict(stored[key])):
            raise _damaged(path, f"one where '{key}' holds no settings")
    with blaming(folder):
        _drop_retired(stored)
    return stored


def _drop_retired(stored: DictConfig) -> None:
    """Take out settings that are no more; refuse a value that did something else than today."""
    values: Any = OmegaConf.to_container(stored)
    for key, value in list(retired_in(values)):
        if value != RETIRED[key]:
            raise DataError(
                f"{CONFIG}: expected {key}={_word(RETIRED[key])}, got {_word(value)}: this version "
                "no longer has the setting. Use the version that made the run."
            )
        above, _, name = key.rpartition(".")
        with open_dict(stored):
            OmegaConf.select(stored, above).pop(name)


def _word(value: Any) -> str:
    """Return a value as ``config.yaml`` has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rename(node: Any) -> None:
    """Put the names that classes have now into stored settings."""
    if OmegaConf.is_dict(node):
        for key in node:
            if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):
                continue
            if key == "_target_":
                node[key] = RENAMED.get(node[key], node[key])
            _rename(node[key])


def _add_protocol(stored: Any) -> None:
    """Say which protocol runs had before there was a choice, as ``conf/protocol`` has it."""
    if not OmegaConf.is_missing(stored, "protocol") or OmegaConf.is_missing(stored, "data"):
        return
    known = {"shots": "shots", "selection": "shot_selection", "seed": "seed"}
    stored.protocol = {
        "_target_": "fsad.data.protocols.cross_domain.CrossDomain",
        **{name: f"${{data.{key}}}" for name, key in known.items() if key in stored.data},
        "source_modality": "rgb",
        "modality": "depth",
    }


def _add_resize(stored: Any) -> None:
    """Say what runs did with photographs before there was a choice."""
    if not OmegaConf.is_missing(stored, "data") and "resize" not in stored.data:
        stored.data.resize = "square"


@contextmanager
def blaming(folder: str | None) -> Iterator[None]:
    """Within the block, let what is wrong with settings name the file that they were read from.

    Args:
        folder: Of the stored run; None: the settings are the user's own, and named as they are.

    Raises:
        DataError: A setting is out of range or unknown, refers to itself, or is of another type.
        FsadError: As the block raises it, about anything else than a setting.
    """
    try:
        yield
    except Exception as error:
        path = Path(folder or "") / CONFIG
        cause = (error.__cause__ or error) if isinstance(error, InstantiationException) else error
        if folder is None or not isinstance(cause, _FAULTS):
            raise
        if isinstance(cause, FsadError) and not isinstance(cause, ConfigError):
            if not str(cause).startswith(CONFIG):
                raise
            raise DataError(f"{path}{str(cause).removeprefix(CONFIG)}") from error
        raise _damaged(path, f"'{message_of(cause)}'") from error


CONFIG = "config.yaml"
# What OmegaConf and constructors raise when they meet a value of another kind
_FAULTS = (
    OmegaConfBaseException,
    InstantiationException,
    AttributeError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,  # ConfigError and DataError are of it
)


def _damaged(path: Path, got: str) -> DataError:
    return DataError(
        f"{path}: expected a run's configuration, got {got}. Copy the run's folder again, or "
        "start a new run instead."
    )
