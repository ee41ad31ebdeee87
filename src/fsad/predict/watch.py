"""A folder that a camera writes into."""

import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from fsad.errors import MissingDataError
from fsad.predict.images import images_in

State = tuple[int, int]  # size and time of the last change


def arriving(folder: Path, done: Collection[str], pause: float = 0.5) -> Iterator[Path]:
    """Yield images of a folder as they arrive, for ever.

    A file is taken when its size and date are the same at two looks, so that one that is still
    being written is left alone. One that changes later comes again, unless it is ``done``.

    Args:
        folder: Which.
        done: Absolute paths that are not wanted any more; may grow meanwhile.
        pause: Seconds between two looks.

    Raises:
        MissingDataError: There is no such folder, or it went away.
    """
    taken: dict[Path, State] = {}
    before: dict[Path, State] = {}
    while True:
        now = _states(folder)
        for path, state in now.items():
            waits = os.path.abspath(path) not in done and taken.get(path) != state
            if waits and state[0] > 0 and before.get(path) == state:
                taken[path] = state
                yield path
        before = now
        time.sleep(pause)


def _states(folder: Path) -> dict[Path, State]:
    states = {}
    try:
        for path in images_in(folder):
            about = path.stat()
            states[path] = (about.st_size, about.st_mtime_ns)
    except FileNotFoundError as error:
        if folder.is_dir():  # a file went away between two calls
            return {}
        raise MissingDataError(f"--watch: expected a folder, got '{folder}'") from error
    except NotADirectoryError as error:
        raise MissingDataError(f"--watch: expected a folder, got '{folder}'") from error
    return states
