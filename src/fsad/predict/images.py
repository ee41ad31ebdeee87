"""Images to predict on: found, and read as depth."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsad.data.depth_file import KINDS, SUFFIXES, read_depth_file
from fsad.errors import MissingDataError

State = tuple[int, int]  # a file's size in bytes, and when it was last changed, in nanoseconds


def images_in(folder: Path) -> list[Path]:
    """Return the images that lie in a folder itself, sorted; hidden files are none."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Return all images that files and folders name, each once, in the order given.

    Folders below a folder are not searched: datasets keep photographs and masks there.

    Raises:
        MissingDataError: A path is not there, or there is no image at all.
    """
    found: dict[Path, None] = {}
    given = list(paths)
    for path in given:
        if path.is_dir():
            found |= dict.fromkeys(images_in(path))
        elif path.exists():
            found[path] = None
        else:
            raise MissingDataError(f"{path}: expected an image or a folder of images, got none")
    if not found:
        raise MissingDataError(
            f"{given[0] if given else 'PATH'}: expected {KINDS}, got none. Folders below it are "
            "not searched: name them, as in test/*/xyz."
        )
    return list(found)


def state_of(path: Path) -> State | None:
    """Return what changes when a file is written; None if it cannot be looked at."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns


def time_of(state: State | None) -> str:
    """Return when a file was last changed, as 2026-01-31T12:00:00.123456789Z; empty if unknown."""
    if state is None:
        return ""
    seconds, rest = divmod(state[1], 10**9)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    except (ValueError, OverflowError, OSError):  # a date that no calendar has
        return f"{seconds}.{rest:09d}"


def read_array(path: Path, png_holes: bool = True) -> NDArray[Any]:
    """Read an image file as it is stored; code in a file is never run.

    Args:
        path: The file.
        png_holes: Whether 0 in a png is a pixel without depth. Otherwise it is the nearest, and
            1 is added to all: depth is scaled to its own extremes, so that nothing else changes.

    Returns:
        Depth, ``(H, W)``, or points, ``(H, W, 3)``.

    Raises:
        DataError: It cannot be read, or is of another kind.
    """
    values = read_depth_file(path)
    return values if png_holes or path.suffix.lower() != ".png" else values + np.float32(1)
