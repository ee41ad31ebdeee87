"""A run's folder: one run begins in it, and one process at a time writes to it."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fsad.errors import OutputError, RunError
from fsad.storage.tensors import write_text

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds to wait for another process: workers of one that was killed hold its lock for five."""
LOCK = ".lock"
MOMENT = 60.0
"""Seconds after which a run that has begun has long written its settings."""


def refuse_used(output: Path) -> None:
    """Refuse a folder with another run in it: its finished stages would be taken for this one's.

    Raises:
        RunError: There is one.
    """
    for name in ("config.yaml", "result.json", "categories"):
        if (output / name).exists():
            raise _unbegun(output) if _ended_early(output) else _used(output, name)


def begin(output: Path, settings: str) -> None:
    """Make a folder a run's, with its ``config.yaml``; of several runs that try, one succeeds.

    Args:
        output: The folder, which is there.
        settings: The run's configuration.

    Raises:
        RunError: Another run has begun in it.
        OutputError: It cannot be written to.
    """
    try:
        (output / "categories").mkdir()  # which two cannot do, on whatever file system
    except FileExistsError as error:
        raise _used(output, "categories") from error
    except OSError as error:
        raise OutputError(
            f"paths.output_dir: expected a folder that can be written, got '{output}' "
            f"({error.strerror}). Choose another folder or change its permissions."
        ) from error
    try:
        write_text(output / "config.yaml", settings)
    except OutputError:
        (output / "categories").rmdir()
        raise


def _ended_early(output: Path) -> bool:
    """Tell whether a run was killed between its folder and its settings, which takes no time."""
    categories = output / "categories"
    if (output / "config.yaml").exists() or not categories.is_dir() or any(categories.iterdir()):
        return False
    return time.time() - categories.stat().st_mtime > MOMENT


def _unbegun(output: Path) -> RunError:
    return RunError(
        f"paths.output_dir: expected a folder without a run, got '{output}' with one that was "
        f"ended before it began. Delete '{output / 'categories'}', or choose another folder."
    )


def _used(output: Path, name: str) -> RunError:
    return RunError(
        f"paths.output_dir: expected a folder without a run, got '{output}' with {name}. "
        f"Go on with resume={output}, or choose another folder."
    )


@contextmanager
def alone_in(output: Path) -> Iterator[None]:
    """Keep other processes from going on with the run within the block.

    The lock goes when its holder does, killed or not. Its file, which is empty, stays: deleting it
    could let two processes in.

    Raises:
        RunError: Another process writes to the folder.
    """
    lock = FileLock(output / LOCK)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting %.0f s for another process in %s", PATIENCE, output)
            lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise RunError(
            f"paths.output_dir: expected a folder that no other process writes to, got '{output}'. "
            f"Let that run end, then go on if it has not finished: resume={output}"
        ) from error
    except OSError as error:  # a file system without locks
        log.warning(
            "%s: expected a lock, got '%s'. Start no other process in this folder.",
            output,
            error.strerror or type(error).__name__,
        )
    try:
        yield
    finally:
        lock.release()
