"""A digest of an exported file inside the file itself. Needs nothing but Python, as its readers do.

A flipped bit in a weight changes scores, or one decision, and nothing else tells.
"""

import hashlib
import mmap
from pathlib import Path

from fsad.errors import DataError

SEAL = "fsad_sha256"
"""The name of the digest among a file's metadata."""
UNSEALED = "0" * 64
"""What stands there while the digest is taken, of everything else in the file."""
IN_ONNX = b"\x0a\x0b" + SEAL.encode() + b"\x12\x40"
"""What comes before the digest in an ONNX file: its name and its length, as protobuf has them."""


def seal(path: Path, before: bytes) -> None:
    """Put a file's digest where ``UNSEALED`` stands in it.

    Args:
        path: The file, written with ``UNSEALED`` in the digest's place.
        before: What comes right before it in the file, as nowhere else.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        place = content.rfind(before + UNSEALED.encode()) + len(before)
        content[place : place + len(UNSEALED)] = _digest(content, place).encode()


def check_seal(path: Path, before: bytes) -> bool:
    """Compare a file with its digest.

    Args:
        path: The file.
        before: As for :func:`seal`.

    Returns:
        Whether it has one: files of earlier versions do not.

    Raises:
        DataError: The file is not as it was written.
    """
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.rfind(before)
        if place < 0:
            return False
        place += len(before)
        written = content[place : place + len(UNSEALED)]
        intact = written == _digest(content, place).encode()
    if not intact:
        raise DataError(
            f"{path}: expected the file as it was exported, got one that was changed or damaged "
            "since. Copy it anew, or export it again with: fsad export RUN_DIR"
        )
    return True


def _digest(content: mmap.mmap, place: int) -> str:
    """Return the SHA-256, hexadecimal, of all but the 64 bytes at ``place``."""
    view = memoryview(content)
    try:
        digest = hashlib.sha256(view[:place])
        digest.update(view[place + len(UNSEALED) :])
        return digest.hexdigest()
    finally:
        view.release()
