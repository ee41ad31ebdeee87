"""Tensors on disk by key: computed once, read back by whichever process asks next."""

import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from torch import Tensor

from fsad.errors import ConfigError, DataError, MissingDataError, OutputError, check_positive
from fsad.storage.tensors import (
    atomic,
    bytes_of,
    is_left_behind,
    make_folder,
    read_tensors,
    write_tensors,
)

log = logging.getLogger(__name__)

_LEFT_BEHIND = 86_400.0  # seconds after which safetensors' own unfinished file has no writer
_SHARE = 16  # eviction frees one sixteenth of the cap, and so much may be written between two looks


@dataclass(frozen=True)
class Entry:
    """What was stored under one key.

    Attributes:
        tensors: By name, memory-mapped. They stay readable when the entry is evicted, except by
            another machine of a network folder; copy what is used for long.
        metadata: Text by name.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


class TensorStore:
    """Tensors on disk by key; an entry is whole or is not used.

    Threads, processes and machines may share the folder. It holds one safetensors file per entry,
    in sub-folders named by the key's first two digits, and the locks. A store speeds a run up and
    never ends it: what cannot be read is computed again, and what cannot be written is not kept.

    **Size.** Each process keeps a running total of the folder: what it saw when it last looked,
    and what it wrote since. It looks (one ``stat`` per entry) at its first :meth:`put`, when the
    total exceeds the cap, and when it wrote a sixteenth of the cap since the last look; if the
    cap is exceeded, the least recently used entries go until a sixteenth is free. One process
    alone is never above the cap after a :meth:`put`; ``p`` processes that write at once are above
    it by at most ``p`` sixteenths and ``p`` entries, which the next to look takes away. A file that
    a run's folder shares by a hard link counts, but frees its bytes only when both are deleted.

    Args:
        folder: Where it is; made if need be.
        max_bytes: The cap; ``None``: no cap. An entry larger than it is not stored.

    Raises:
        OutputError: The folder cannot be written.
        ConfigError: The cap is not above 0.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        if max_bytes is not None:
            check_positive("cache.max_gb", max_bytes)
        self.folder = make_folder(folder, "paths.cache_dir")
        self.max_bytes = max_bytes
        self._locks = make_folder(folder / "locks", "paths.cache_dir")
        self._total: int | None = None  # bytes; None: not looked yet
        self._written = 0  # bytes since the last look
        self._storing = True
        self._said_too_large = False

    def get(self, key: str) -> Entry | None:
        """Read an entry and note that it was used.

        Returns:
            The entry; ``None`` if there is none, or it is damaged. A damaged one is deleted, with
            a warning.

        Raises:
            ConfigError: ``key`` is not a hexadecimal digest.
        """
        path = self._path(key)
        entry = self._read(path)
        if entry is not None:
            _touch(path)
        return entry

    def put(
        self,
        key: str,
        tensors: Mapping[str, Tensor],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Store an entry in place of any other of this key, then evict what exceeds the cap.

        If it cannot be written (the disk is full), one warning is given and this store keeps
        nothing from then on.

        Raises:
            ConfigError: ``key`` is not a hexadecimal digest.
        """
        path = self._path(key)
        if not self._storing or not self._fits(sum(value.nbytes for value in tensors.values())):
            return
        with self._going_on():
            path.parent.mkdir(exist_ok=True)
            write_tensors(path, tensors, metadata)
            self._count(path)

    def fetch(self, key: str, path: Path) -> bool:
        """Make an entry a file of a run's folder, whole or not at all.

        The file is a hard link where the file system allows it, else a copy. It stays when the
        entry is evicted. A linked file takes part in the entry's time of last use.

        Returns:
            Whether there was such an entry, undamaged.

        Raises:
            ConfigError: ``key`` is not a hexadecimal digest.
            OutputError: ``path`` cannot be written.
        """
        stored = self._path(key)
        if self._read(stored) is None:
            return False
        try:
            _link_or_copy(stored, path)
        except OutputError:
            if stored.exists():
                raise
            return False  # evicted a moment ago
        _touch(stored)
        return True

    def keep(self, key: str, path: Path) -> None:
        """Take a finished file of :func:`~fsad.storage.tensors.write_tensors` as an entry, linked.

        Where a link cannot be made it is a copy.

        A damaged file, or one without a checksum, is not taken, with a warning. Otherwise as
        :meth:`put`.

        Raises:
            ConfigError: ``key`` is not a hexadecimal digest.
            MissingDataError: There is no such file.
        """
        stored = self._path(key)
        if not self._storing:
            return
        try:
            read_tensors(path, checksum_required=True)
        except DataError as error:
            log.warning("not stored for other runs: %s", error)
            return
        if not self._fits(path.stat().st_size):
            return
        with self._going_on():
            stored.parent.mkdir(exist_ok=True)
            _link_or_copy(path, stored)
            _touch(stored)
            self._count(stored)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Have one process compute an entry while the others wait for it.

        Ask for the entry again once the lock is held. The lock goes when its holder does, killed
        or not. Its file, which is empty, stays: deleting it would let two processes in.

        Raises:
            ConfigError: ``key`` is not a hexadecimal digest.
            RuntimeError: This thread holds the lock already.
        """
        path = self._path(key)
        lock = FileLock(self._locks / f"{key}.lock")
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.info("waiting for another process to compute %s", path)
                lock.acquire()
        except OSError as error:
            log.warning(
                "%s: expected a lock, got '%s'. It may be computed more than once.",
                path,
                _reason(error),
            )
        try:
            yield
        finally:
            lock.release()

    def _path(self, key: str) -> Path:
        if not re.fullmatch("[0-9a-f]{8,}", key):
            raise ConfigError(f"key: expected a hexadecimal digest, got {key!r}")
        return self.folder / key[:2] / f"{key}.safetensors"

    def _read(self, path: Path) -> Entry | None:
        try:
            return Entry(*read_tensors(path, checksum_required=True))
        except MissingDataError:
            return None
        except DataError as error:
            if isinstance(error.__cause__, OSError | RuntimeError):
                # Out of memory maps or file handles, say: the entry may be whole.
                log.warning("computed again: %s", error)
            else:
                log.warning("deleted and computed again: %s", error)
                with suppress(OSError):
                    path.unlink()
            return None

    def _fits(self, size: int) -> bool:
        if self.max_bytes is None or size <= self.max_bytes:
            return True
        if not self._said_too_large:
            log.warning(
                "cache.max_gb: expected room for an entry of %.3g GB, got %.3g. "
                "Entries larger than the cap are not stored.",
                size / 1e9,
                self.max_bytes / 1e9,
            )
            self._said_too_large = True
        return False

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Turn a failure to write into one warning."""
        try:
            yield
        except OSError as error:
            self._storing = False
            log.warning(
                "paths.cache_dir: expected to store in '%s', got '%s'. NOTHING MORE IS STORED by "
                "this run, which goes on. Free some space, or set cache.max_gb lower.",
                self.folder,
                _reason(error),
            )

    def _count(self, path: Path) -> None:
        """Add an entry just written to the running total, and keep to the cap."""
        with suppress(FileNotFoundError):  # evicted by another process
            size = path.stat().st_size
            self._written += size
            if self._total is not None:
                self._total += size
        if self._total is None or self._may_exceed_the_cap(self._total):
            self._look(path)

    def _may_exceed_the_cap(self, total: int) -> bool:
        if self.max_bytes is None:
            return False
        return total > self.max_bytes or self._written > self.max_bytes / _SHARE

    def _look(self, newest: Path) -> None:
        """Measure the folder, sweep what killed processes left, and evict what is too much."""
        entries, old = [], time.time() - _LEFT_BEHIND
        for file in self._files():
            with suppress(OSError):  # it vanished meanwhile
                about = file.stat()
                if not file.name.startswith("."):
                    entries.append((about.st_mtime_ns, about.st_size, Path(file.path)))
                elif is_left_behind(Path(file.path)) or about.st_mtime < old:
                    os.unlink(file.path)
        total = sum(size for _, size, _ in entries)
        if self.max_bytes is not None and total > self.max_bytes:
            # The newest goes last, whatever the clock says, and only if it alone is too large.
            entries.sort(key=lambda entry: (entry[2] == newest, entry[0]))
            for _, size, path in entries:
                least = 0 if path == newest else self.max_bytes // _SHARE
                if total <= self.max_bytes - least:
                    break
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                    total -= size
        self._total, self._written = total, 0

    def _files(self) -> Iterator[os.DirEntry[str]]:
        with os.scandir(self.folder) as folders:
            for folder in folders:
                if len(folder.name) == 2:
                    with suppress(OSError), os.scandir(folder) as files:
                        yield from files


def digest(*parts: object) -> str:
    r"""Return a key for a computation: the SHA-256 of all that decides its result.

    Each part is written as its kind, its length and its content, ``s3:abc`` for text, so that no
    two different lists of parts give the same bytes. Numbers of different kinds differ, as do
    tensors of different dtype or shape; lists and tuples do not, nor does a mapping's order.

    Args:
        parts: Text, bytes, whole numbers, floats, truth values, ``None``, tensors, and lists,
            tuples and mappings from text of these. No paths: another machine has other ones.

    Returns:
        64 hexadecimal digits, the same in every process and on every machine.

    Raises:
        ConfigError: A part is of another kind.

    Note:
        Reads each tensor's bytes once; one on another device is copied to the CPU.
    """
    hasher = hashlib.sha256()

    def add(kind: str, content: bytes | memoryview) -> None:
        hasher.update(f"{kind}{len(content)}:".encode())
        hasher.update(content)

    def visit(part: object) -> None:
        match part:
            case None:
                add("n", b"")
            case bool():  # before int, which it is too
                add("b", b"1" if part else b"0")
            case int():
                add("i", str(part).encode())
            case float():
                add("f", part.hex().encode())
            case str():
                add("s", part.encode("utf-8", "surrogateescape"))  # a file's name may be no UTF-8
            case bytes():
                add("y", part)
            case Tensor():
                hasher.update(b"t")
                visit(str(part.dtype))
                visit(tuple(part.shape))
                add("y", bytes_of(part))
            case list() | tuple():
                hasher.update(f"l{len(part)}:".encode())
                for item in part:
                    visit(item)
            case Mapping() if all(isinstance(name, str) for name in part):
                hasher.update(f"m{len(part)}:".encode())
                for name in sorted(part):
                    visit(name)
                    visit(part[name])
            case _:
                raise ConfigError(
                    "digest: expected text, bytes, numbers, truth values, None, tensors, or lists "
                    f"and mappings from text of these, got {type(part).__name__}"
                )

    visit(parts)
    return hasher.hexdigest()


def _link_or_copy(source: Path, path: Path) -> None:
    with atomic(path) as partial:
        try:
            os.link(source, partial)
        except OSError:  # another file system, or one without links, or too many of them
            shutil.copyfile(source, partial)


def _touch(path: Path) -> None:
    with suppress(OSError):  # evicted, or another user's
        os.utime(path)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
