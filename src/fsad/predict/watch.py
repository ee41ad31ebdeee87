"""A folder that a camera writes into."""

import os
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from fsad.errors import MissingDataError
from fsad.predict.images import State, images_in, state_of, time_of


def arriving(
    folder: Path, done: Mapping[str, str], suffixes: Collection[str], pause: float = 0.5
) -> Iterator[Path]:
    """Yield images of a folder as they arrive, for ever.

    A file is taken when its size and date are the same at two looks, so that one that is still
    being written is left alone. One that changes later, as a camera's ``latest.tiff``, comes again.

    Args:
        folder: Which.
        done: When files that are not wanted any more were last changed, by their absolute paths,
            as :func:`~fsad.predict.images.time_of` says it; may grow meanwhile.
        suffixes: Of images, in lower case.
        pause: Seconds between two looks.

    Raises:
        MissingDataError: There is no such folder, or it went away.
    """
    taken: dict[Path, State] = {}
    before: dict[Path, State] = {}
    while True:
        now = _states(folder, suffixes)
        for path, state in now.items():
            waits = done.get(os.path.abspath(path)) != time_of(state) and taken.get(path) != state
            rests = before.get(path) == state == state_of(path)  # images before it took their time
            if waits and state[0] > 0 and rests:
                taken[path] = state
                yield path
        before = now
        time.sleep(pause)


def _states(folder: Path, suffixes: Collection[str]) -> dict[Path, State]:
    states = {}
    try:
        for path in images_in(folder, suffixes):
            state = state_of(path)
            if state is not None:  # it did not go away between two calls
                states[path] = state
    except FileNotFoundError as error:
        if folder.is_dir():  # a file went away between two calls
            return {}
        raise MissingDataError(f"--watch: expected a folder, got '{folder}'") from error
    except NotADirectoryError as error:
        raise MissingDataError(f"--watch: expected a folder, got '{folder}'") from error
    return states
