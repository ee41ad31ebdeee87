"""Writing PyTorch's own format of exported graphs."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from fsad.errors import DataError, message_of
from fsad.predict.model_file.metadata import KEY, Metadata
from fsad.predict.model_file.seal import SEAL
from fsad.predict.scorer import Pixels, Scored
from fsad.storage.atomic import atomic


def write_pt2(
    program: ExportedProgram,
    about: Metadata,
    path: Path,
    prove: Callable[[Path], object] = lambda _: None,
) -> None:
    """Write a graph for ``torch.export.load`` with its digest, atomically.

    Args:
        program: The graph.
        about: Goes with it, as JSON in an extra file ``fsad``.
        path: The file.
        prove: Given the file before it is in its place; what it raises leaves none.

    Raises:
        OutputError: The file cannot be written.

    Note:
        ``torch.export.load`` may unpickle: it is for files of one's own. This program calls it for
        the one file that it has just written, in :func:`score_pt2`.
    """
    for name, value in program.constants.items():
        if isinstance(value, Tensor):  # a view, as of a bank in both banks, would bring the whole
            program.constants[name] = value.clone()
    with atomic(path) as partial:
        with partial.open("wb") as file:
            torch.export.save(program, file, extra_files={KEY: about.to_json()})
        _seal(partial)
        prove(partial)


def score_pt2(path: Path) -> Callable[[Pixels], Scored]:
    """Return what scores images ``(n, C, S, S)`` by a file that this process has written."""
    check_pt2(path)
    with path.open("rb") as file:
        loaded = torch.export.load(file).module()

    def score(images: Pixels) -> Scored:
        with torch.no_grad():
            outputs = loaded(torch.from_numpy(images.copy()))
        return Scored.of_outputs({name: it.numpy() for name, it in outputs.items()}).checked()

    return score


def check_pt2(path: Path) -> Metadata:
    """Tell whether a file is as it was exported, and what it says of itself, without loading it.

    ``torch.export.load`` itself takes a file with a flipped bit for whole: call this first.

    Raises:
        DataError: The file is no such archive, was changed since it was written, or has no digest
            (those of earlier versions), or its record cannot be.
    """
    again = "Copy it anew, or export it again with: fsad export RUN_DIR --format pt2 -o FILE"
    try:
        with zipfile.ZipFile(path) as archive:
            extra = {
                name.rpartition("/extra/")[2]: archive.read(name)
                for name in archive.namelist()
                if "/extra/" in name
            }
            written, digest = extra.get(SEAL), _digest(archive)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: expected a file of torch.export as it was exported, got "
            f"'{message_of(error)}'. {again}"
        ) from error
    if written != digest.encode():
        got = "one without a digest" if written is None else "one that was changed or damaged since"
        raise DataError(f"{path}: expected the file as it was exported, got {got}. {again}")
    return Metadata.from_json(extra.get(KEY, b"").decode(), str(path))


def _seal(path: Path) -> None:
    """Add the digest as one more file beside the record."""
    with zipfile.ZipFile(path, "a") as archive:
        folder = next(name for name in archive.namelist() if name.endswith(f"/extra/{KEY}"))
        archive.writestr(folder.removesuffix(KEY) + SEAL, _digest(archive))


def _digest(archive: zipfile.ZipFile) -> str:
    """Return the SHA-256, hexadecimal, of all names and contents but the digest's own."""
    digest = hashlib.sha256()
    for name in sorted(archive.namelist()):
        if not name.endswith(f"/extra/{SEAL}"):
            with archive.open(name) as file:
                own = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
            digest.update(name.encode() + b"\0" + own.digest())
    return digest.hexdigest()
