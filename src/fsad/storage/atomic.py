"""Writing text and other files so that a reader never sees half of one."""

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from fsad.errors import FsadError, OutputError

_SHOWN = 60  # bytes of a file's name that its unfinished file shows: a name has room for 255
_LEFT_BEHIND = 86_400.0  # seconds after which an unfinished file has no writer any more, wherever
_PARTIAL = re.compile(r"\..*?\.(?:([0-9a-f]{8})-(\d+)-(\d+)\.)?[0-9a-f]{32}\.part", re.DOTALL)


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
    a name that starts with a dot and says who it was: :func:`sweep` takes it away.

    Raises:
        OutputError: The file cannot be written.
    """
    partial = partial_of(path)
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


def partial_of(path: Path) -> Path:
    """Return a name beside ``path`` for what is not finished, which :func:`sweep` knows."""
    shown = os.fsdecode(os.fsencode(path.name)[:_SHOWN])
    return path.with_name(f".{shown}.{_writer(os.getpid())}{uuid.uuid4().hex}.part")


def write_text(path: Path, text: str) -> None:
    """Write text atomically, as UTF-8; bytes of a file's name that are none become escapes."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys in the order given; NaN is refused, use ``None``."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sweep(folder: Path, pattern: str = "**/") -> None:
    """Delete what dead processes left unfinished in a folder; what a living one writes stays.

    Args:
        folder: Which; it need not be there.
        pattern: Where in it to look: ``**/`` in all folders below it too, the empty text in none.
    """
    for path in folder.glob(f"{pattern}.*.part"):
        with suppress(OSError):  # another process swept it, or it may not be deleted
            if is_left_behind(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def is_left_behind(path: Path) -> bool:
    """Tell whether an unfinished file of :func:`atomic` has no writer any more.

    Its name says which process wrote it, and when that was started: a later one of the same number
    is another. Of a process of another machine or container, or of an earlier version's file,
    nothing is known; it counts as dead a day after it last wrote.

    Raises:
        OSError: The file cannot be looked at.
    """
    found = _PARTIAL.fullmatch(path.name)
    if found is None:
        return False  # not ours
    place, pid, started = found.groups()
    if place is not None and place == _place():
        return _started(int(pid)) != started
    return path.stat().st_mtime < time.time() - _LEFT_BEHIND


@lru_cache(maxsize=1)  # of the current process, which a fork changes
def _writer(pid: int) -> str:
    """Name this process as no other is named; nothing where the system does not tell."""
    started = _started(pid)
    return f"{_place()}-{pid}-{started}." if _place() and started else ""


@lru_cache(maxsize=1)
def _place() -> str:
    """Name where the numbers of processes count: this start of this machine, this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        return hashlib.sha256(boot + os.fsencode(os.readlink("/proc/self/ns/pid"))).hexdigest()[:8]
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks; nothing if it does not run."""
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    state, started = words[0], words[19]
    return "" if state in (b"Z", b"X") else started.decode()  # killed, and not yet buried
