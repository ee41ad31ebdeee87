"""Tensors in files, so that a reader never sees half a file, nor uses a damaged one."""

import json
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fsad.errors import DataError, MissingDataError, OutputError, message_of
from fsad.storage.atomic import (
    atomic,
    is_left_behind,
    make_folder,
    partial_of,
    sweep,
    write_json,
    write_text,
)
from fsad.storage.regular import refuse_irregular

__all__ = [
    "atomic",
    "bytes_of",
    "is_left_behind",
    "make_folder",
    "partial_of",
    "read_tensors",
    "sweep",
    "write_json",
    "write_tensors",
    "write_text",
]

_CHECKSUM = "fsad.crc32"  # its name among a file's metadata


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to one safetensors file, atomically, from whatever device they are on.

    Their checksum goes with them, for :func:`read_tensors`.

    Args:
        path: The file.
        tensors: Any shapes and dtypes that safetensors knows, by name.
        metadata: Text by name.

    Raises:
        OutputError: The file cannot be written.

    Note:
        Holds one more copy of the tensors in memory while it writes.
    """
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    about = dict(metadata or {})
    about[_CHECKSUM] = _checksum(plain, about)
    with atomic(path) as partial:
        partial.touch()
        # safetensors moves a file of its own here, which no other user may read.
        mode = stat.S_IMODE(partial.stat().st_mode)
        try:
            save_file(plain, partial, metadata=about)
        except SafetensorError as error:  # a full disk, for one: it is no OSError
            raise OutputError(
                f"{path}: expected to write the file, got '{message_of(error)}'"
            ) from error
        partial.chmod(mode)


def read_tensors(
    path: Path, *, device: torch.device | str = "cpu", checksum_required: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what :func:`write_tensors` wrote, if it is still as it was written.

    On the CPU the tensors are memory-mapped: processes that read one file share its memory, and
    the tensors outlive the file's deletion. The mapping is private, so that writing into such a
    tensor leaves the file alone.

    Args:
        path: The file.
        device: Where the tensors shall be.
        checksum_required: Refuse a file without a checksum, as other programs write it.

    Returns:
        The tensors and the metadata, each by name.

    Raises:
        MissingDataError: There is no such file.
        DataError: The file is cut short, foreign or damaged, or cannot be read. Its cause is an
            ``OSError`` or a ``RuntimeError`` where the file itself may be whole.

    Note:
        Reads every byte once, for the checksum.
    """
    refuse_irregular(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: expected a file of tensors, got none") from error
    except Exception as error:  # a damaged header breaks at many places
        raise DataError(f"{path}: expected a file of tensors, got '{message_of(error)}'") from error
    written = metadata.pop(_CHECKSUM, None)
    if written is not None:
        found = _checksum(tensors, metadata)
        if found != written:
            raise DataError(f"{path}: expected the checksum {written}, got {found}")
    elif checksum_required:
        raise DataError(f"{path}: expected a checksum, got none")
    return {name: value.to(device) for name, value in tensors.items()}, metadata


def bytes_of(tensor: Tensor) -> memoryview:
    """Return a tensor's numbers as they lie in memory, row by row, whatever its dtype.

    Note:
        Copies nothing if the tensor is contiguous and on the CPU.
    """
    plain = tensor.detach().cpu().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().data  # as bytes: NumPy lacks bfloat16


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """CRC-32 of all that :func:`write_tensors` is given, in an order that is always the same."""
    names = sorted(tensors)
    layout = [[name, str(tensors[name].dtype), list(tensors[name].shape)] for name in names]
    about = sorted(item for item in metadata.items() if item[0] != _CHECKSUM)
    crc = zlib.crc32(json.dumps([layout, about]).encode())
    for name in names:
        crc = zlib.crc32(bytes_of(tensors[name]), crc)
    return f"{crc:08x}"
