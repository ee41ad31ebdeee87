"""How runs and multiruns start: in a folder of their own; a sweep gone on with is the same."""

import sys
from contextlib import suppress
from itertools import count, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict

from fsad.errors import ConfigError, DataError, FsadError, MissingDataError, message_of
from fsad.run.config import FREE_TO_RESUME
from fsad.run.neighbour import compose_from_neighbours
from fsad.run.overrides import key_of, quoted

if TYPE_CHECKING:  # so that the command line's help need not wait for torch
    from fsad.results.record import RunResult

NEWEST = "newest"
"""With ``resume``: the newest folder of the same sweep."""


class SweepStart(Callback):
    """Chooses a run's folder, and checks a multirun, before Hydra makes a folder for it.

    With ``resume=FOLDER`` the jobs get the folders they had: ``FOLDER/<number of the job>``. What
    they do there, :func:`fsad.run.config.settle` and :func:`finished` decide.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Give the run a folder that no other run has."""
        step_aside(config, "run")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse a launcher that is not installed; make the jobs write to the resumed sweep."""
        compose_from_neighbours()
        try:
            check_launcher(config)
            if config.resume:
                go_on(config)
            else:
                step_aside(config, "sweep")
        except FsadError as error:
            # Of a callback's exceptions Hydra makes warnings, but not of this one.
            sys.exit(message_of(error))


def check_launcher(config: DictConfig) -> None:
    """Refuse a launcher whose package is not installed.

    Raises:
        ConfigError: It is not.
    """
    target = str(config.hydra.launcher._target_)
    known = (f"{each.__module__}.{each.__name__}" for each in Plugins.instance().discover(Launcher))
    if target in known:
        return
    package = target.split(".")[1]  # hydra_plugins.hydra_joblib_launcher.joblib_launcher...
    extra = package.removeprefix("hydra_").removesuffix("_launcher")
    raise ConfigError(
        f"hydra/launcher={config.hydra.runtime.choices['hydra/launcher']}: expected the package "
        f"{package.replace('_', '-')}, got none. Install it with pip install 'fsad[{extra}]'."
    )


def go_on(config: DictConfig) -> None:
    """Make the jobs of a multirun write to the folders of the sweep that ``resume`` names.

    Args:
        config: As Hydra composed it for the multirun; changed in place.

    Raises:
        MissingDataError: There is no such sweep.
        DataError: What Hydra stored of it cannot be read.
        ConfigError: It was started with other arguments, so its jobs have other numbers.
    """
    folder = newest(config) if config.resume == NEWEST else Path(config.resume)
    for before, now in zip_longest(_arguments(_stored(folder)), _arguments(config)):
        if before != now:
            raise ConfigError(
                f"resume: expected {before or 'no other argument'} as '{folder}' was started, "
                f"got {now or 'nothing'}. Pass the same in the same order, or start a new sweep."
            )
    _write_to(config, "sweep", folder)
    overrides = config.hydra.overrides
    config.resume = str(folder)
    with open_dict(config.hydra):
        overrides.task = [
            f"resume={quoted(str(folder))}" if key_of(word) == "resume" else word
            for word in overrides.task
        ]


def step_aside(config: DictConfig, kind: str) -> None:
    """Make the folder named by the time of the start, or one beside it if another has it.

    Two runs that start within one second would get the same name. A folder that the user names is
    the user's: whether a run may begin in it, :mod:`fsad.results.run_folder` decides.

    Args:
        config: As Hydra composed it; changed in place.
        kind: ``run`` or ``sweep``.
    """
    node = config.hydra[kind]
    raw = OmegaConf.to_container(node, resolve=False)
    if not isinstance(raw, dict) or "${now:" not in str(raw["dir"]):
        return
    named = Path(node.dir)
    folder = named
    try:
        named.parent.mkdir(parents=True, exist_ok=True)
        for number in count(2):
            with suppress(FileExistsError):
                folder.mkdir()
                break
            folder = named.with_name(f"{named.name}_{number}")
    except OSError:
        return  # Hydra meets the same, and what it says of it is understood
    if folder != named:
        _write_to(config, kind, folder)


def _write_to(config: DictConfig, kind: str, folder: Path) -> None:
    """Make a run or a sweep write to a folder."""
    with open_dict(config.hydra):
        config.hydra[kind].dir = str(folder)
        # A job is composed anew from these.
        config.hydra.overrides.hydra.append(f"hydra.{kind}.dir={quoted(str(folder))}")


def newest(config: DictConfig) -> Path:
    """Find the newest multirun of the chosen sweep beside the folder that a new one would get.

    Raises:
        MissingDataError: There is none.
    """
    root = Path(config.hydra.sweep.dir).parent.parent  # multirun/DATE/TIME
    sweep = config.hydra.runtime.choices.get("sweep")
    for file in sorted(root.glob("*/*/multirun.yaml"), reverse=True):
        if _stored(file.parent).hydra.runtime.choices.get("sweep") == sweep:
            return file.parent
    raise MissingDataError(
        f"resume: expected an earlier multirun with sweep={sweep} below '{root}', got none. "
        "Start one without it, or pass its folder."
    )


def finished(folder: Path) -> "RunResult | None":
    """Return the result of a run in which nothing is left to do, else None.

    ``result.json`` is written after every category, the table beside it after the last one, and the
    page and exported files after that.
    """
    from fsad.results.record import read_result

    if not (folder / "table.md").is_file():
        return None
    try:
        result = read_result(folder / "result.json")
    except (MissingDataError, DataError):  # going on with the run writes it again
        return None
    return None if result.failed or _lacks_something(folder, result) else result


def _lacks_something(folder: Path, result: "RunResult") -> bool:
    """Tell whether something that the run's settings ask for is not there."""
    from fsad.predict.model_file.kept import kept_model

    asked = result.config
    if asked.get("report") and not (folder / "report.html").is_file():
        return True
    return any(
        (asked.get("threshold") and category.threshold is None)
        or (
            asked.get("maps")
            and category.n_test_good + category.n_test_defect
            and not any((folder / "maps" / name).glob("*.png"))
        )
        or (asked.get("export") and kept_model(folder, name) is None)
        for name, category in result.categories.items()
    )


def _stored(folder: Path) -> DictConfig:
    """Read what Hydra stored of a multirun when it started."""
    path = folder / "multirun.yaml"
    if not path.is_file():
        raise MissingDataError(
            f"resume: expected a sweep's folder with multirun.yaml, got '{folder}'. "
            "A single run is gone on with alone: python train.py resume=RUN_DIR."
        )
    try:
        stored = OmegaConf.load(path)
        assert isinstance(stored, DictConfig)
        _ = stored.hydra.overrides.task, stored.hydra.runtime.choices
    except Exception as error:
        raise DataError(
            f"{path}: expected what Hydra stores of a multirun, got '{message_of(error)}'. "
            "Delete it and start a new sweep."
        ) from error
    return stored


def _arguments(config: DictConfig) -> list[str]:
    """List the overrides that decide what the jobs are, and in which order."""
    return [word for word in config.hydra.overrides.task if key_of(word) not in FREE_TO_RESUME]
