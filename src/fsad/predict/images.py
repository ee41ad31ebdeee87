"""Images to predict on: which files they are, and when they were changed."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path

from fsad.data.input import InputSpec
from fsad.errors import MissingDataError

State = tuple[int, int]  # a file's size in bytes, and when it was last changed, in nanoseconds


def images_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the images that lie in a folder itself, sorted; hidden files are none.

    Args:
        folder: Which.
        suffixes: Of images, in lower case.
    """
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )


def refuse_absent(paths: Iterable[Path]) -> None:
    """Refuse a file or folder that is not there, before a model is loaded for it.

    Raises:
        MissingDataError: There is one.
    """
    for path in paths:
        if not path.exists():
            raise MissingDataError(f"{path}: expected an image or a folder of images, got none")


def find_images(paths: Iterable[Path], input: InputSpec) -> list[Path]:
    """Return all images that files and folders name, each once, in the order given.

    Folders below a folder are not searched: datasets keep other modalities and masks there.

    Args:
        paths: Files and folders.
        input: What the model takes: of a folder, which files are images.

    Raises:
        MissingDataError: A path is not there, or there is no image at all.
    """
    given = list(paths)
    refuse_absent(given)
    images: dict[Path, None] = {}
    for path in given:
        inside = images_in(path, input.suffixes) if path.is_dir() else [path]
        images |= dict.fromkeys(inside)
    if not images:
        raise MissingDataError(
            f"{given[0] if given else 'PATH'}: expected {input.kinds}, got none. Folders below it "
            "are not searched: name them, as in test/*/xyz."
        )
    return list(images)


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
