"""What files hold and who reads them, as digests: neither name nor date of a file counts."""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from fsad.data.sample import Sample
from fsad.errors import MissingDataError
from fsad.storage.regular import refuse_irregular
from fsad.storage.tensor_store import digest

MASK = "mask"


def files_digest(samples: Iterable[Sample], *reads: str) -> str:
    """Digest what the files of samples hold, in the order of the samples.

    A prepared foreground mask belongs to the depth: it says where holes are filled. Each file is
    hashed once per process, until its size or date changes.

    Args:
        samples: Whose files.
        reads: Which of them: modalities, such as ``rgb`` or ``depth``, and ``mask``.

    Returns:
        64 hexadecimal digits.

    Raises:
        MissingDataError: A file is not there.
        DataError: It is no regular file.
    """
    return digest([[content_of(path) for path in _files(sample, reads)] for sample in samples])


def reading_digest(make_reader: Callable[..., object]) -> str:
    """Digest which reader sees the files, and by which settings: others may see other images.

    Args:
        make_reader: The reader's class, or a :class:`~functools.partial` of it with its settings.
    """
    bound = make_reader if isinstance(make_reader, partial) else partial(make_reader)
    made: Any = bound.func
    return digest(f"{made.__module__}.{made.__qualname__}", bound.keywords)


def _files(sample: Sample, reads: Iterable[str]) -> Iterable[Path]:
    for read in reads:
        if read == MASK:
            yield from sample.masks
            continue
        yield sample.files[read]
        yield from sample.further.get(read, ())
        if read == "depth" and sample.part:
            yield sample.part


def content_of(path: Path) -> str:
    """Digest what a file holds; once per process, until its size or date changes.

    Raises:
        MissingDataError: It is not there.
        DataError: It is no regular file.
    """
    try:
        about = path.stat()
    except OSError as error:
        raise MissingDataError(f"{path}: expected a file, got '{error.strerror}'") from error
    refuse_irregular(path)
    return _hash(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=2**18)
def _hash(path: Path, size: int, modified: int) -> str:  # noqa: ARG001 (they are the key)
    with path.open("rb") as file:
        content = sha256()
        while block := file.read(2**20):
            content.update(block)
    return content.hexdigest()
