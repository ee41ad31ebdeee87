"""Writing text and other files so that a reader never sees half of one."""

import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fsad.errors import FsadError, OutputError


def make_folder(path: Path, name: str) -> Path:
    """Create a folder and prove that it can be written to.

    Args:
        path: The folder.
        name: What the user calls it, for the message.

    Raises:
        OutputError: It cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(
            f"{name}: expected a folder that can be written, got '{path}' ({reason}). "
            "Choose another folder or change its permissions."
        ) from error
    return path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and move it into place if the block succeeds.

    The temporary name is no one else's: several threads, processes and machines may write the
    same file at once, and the last to finish wins. A killed process leaves its file behind, under
    a name that starts with a dot.

    Raises:
        OutputError: The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield partial
        os.replace(partial, path)
    except FsadError:
        raise  # the block's own complaint
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{path}: expected to write the file, got '{reason}'") from error
    finally:
        with suppress(OSError):  # the folder itself may not be there
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys in the order given; NaN is refused, use ``None``."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
