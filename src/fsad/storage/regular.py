"""What a user's file has to be before it is opened: a regular file under a name that is text."""

import os
import stat
from pathlib import Path

from fsad.errors import DataError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def refuse_irregular(path: Path) -> None:
    """Refuse what opening could wait for, or read from, for ever: a pipe, a socket, a device.

    Call it before a file is opened that the program did not just write itself. A link counts as
    what it leads to. What is not there, or cannot be looked at, is left to whoever opens it.

    Raises:
        DataError: There is something else than a regular file.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return
    if not stat.S_ISREG(mode):
        kind = next((kind for test, kind in _KINDS if test(mode)), "something else")
        raise DataError(f"{path}: expected a regular file, got {kind}. Leave it out.")


def refuse_unprintable(path: Path) -> None:
    """Refuse a path that no text file, and so no table or page, can hold.

    Raises:
        DataError: Its bytes are no UTF-8.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}: expected a name in UTF-8, got {os.fsencode(path)[error.start :][:1].hex()} "
            "(hexadecimal) in it. Rename it."
        ) from error
