"""Whole runs on a tiny generated set: the real configuration, shrunk by overrides."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from small_runs import GENERATED, REST, ROOT, SMALL, TINY, cache, finished, run

__all__ = ["cache", "finished", "run"]  # fixtures
sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """The overrides that make a run on the generated set small."""
    return SMALL


@pytest.fixture(scope="session")
def small_on_disk() -> tuple[str, ...]:
    """The overrides that make a run on a dataset given by its root small."""
    return (*TINY, *REST)


@pytest.fixture(scope="session")
def small_cnn() -> tuple[str, ...]:
    """The overrides that make a run with another backbone than ``tiny`` small."""
    return (*GENERATED, *REST)


@pytest.fixture
def command(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Call ``train.command`` in this process; return its exit code and all it said on stderr.

    It is called in the test's own folder unless ``folder`` names another.
    """
    import train

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def call(
        *words: str, small: tuple[str, ...] = SMALL, folder: Path = tmp_path
    ) -> tuple[int, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("FSAD_CACHE_DIR", str(cache))
        options = [word for word in words if word.startswith("-")]  # before all overrides
        overrides = [*small, *(word for word in words if not word.startswith("-"))]
        monkeypatch.setattr(sys, "argv", ["train.py", *options, *overrides])
        GlobalHydra.instance().clear()
        code, said = 0, ""
        try:
            train.command()
        except SystemExit as stop:
            code, said = (1, stop.code) if isinstance(stop.code, str) else (stop.code, "")
        return code, capsys.readouterr().err + said

    yield call
    for handler in set(root.handlers) - set(handlers):  # Hydra's: their stream closes now
        handler.close()
    root.handlers[:], root.level = handlers, level
    if "wandb" in sys.modules:  # it keeps its mode, online or not, for the life of the process
        sys.modules["wandb"].teardown()
