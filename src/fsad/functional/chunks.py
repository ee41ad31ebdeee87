"""Work in chunks: how much memory one may take, and smaller ones where it runs out."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from fsad.errors import RunError, check_at_least, message_of

CPU_BUDGET = 32 * 2**20  # bytes; fixed, so that the same run takes the same steps everywhere
CUDA_CAP = 2**30  # bytes; larger chunks are not faster
CUDA_SHARE = 8  # a chunk takes at most this part of what is free

Result = TypeVar("Result")


def chunk_budget(device: torch.device) -> int:
    """Return how many bytes the temporaries of one chunk may take on a device.

    On a GPU a share of what is free now, memory that PyTorch holds without using it included;
    elsewhere a constant.
    """
    if device.type != "cuda":
        return CPU_BUDGET
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min((free + unused) // CUDA_SHARE, CUDA_CAP)


def chunk_size(bytes_each: int, device: torch.device) -> int:
    """Return how many items fit in :func:`chunk_budget`, at least 1.

    Args:
        bytes_each: Temporary memory that one item takes.
        device: Where it takes it.
    """
    return max(1, chunk_budget(device) // max(1, bytes_each))


def in_chunks(
    count: int, size: int, work: Callable[[slice], Result], what: str = "items"
) -> Iterator[Result]:
    """Do the work on ``count`` items, ``size`` at a time, fewer where memory runs out.

    Where a chunk does not fit, half of it is tried, down to one item; what was done is not done
    again, and the smaller size is kept. So ``work`` must leave nothing behind when it fails, or
    overwrite it.

    Laws: the slices join to ``0:count`` in order; an error other than lack of memory passes
    through at once.

    Args:
        count: Number of items.
        size: Items per chunk, at least 1; the last one may be shorter.
        work: Does the work on a slice of the items.
        what: What the items are, for the error message.

    Yields:
        What ``work`` returns, chunk by chunk.

    Raises:
        ConfigError: ``size`` is below 1.
        RunError: One item alone does not fit.
    """
    check_at_least("chunk size", size, 1)
    start = 0
    while start < count:
        piece = slice(start, min(start + size, count))
        try:
            result = work(piece)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            size = (piece.stop - piece.start) // 2
            if size == 0:
                raise RunError(
                    f"{what}: expected memory for at least one at a time, got {message_of(error)}. "
                    "Free memory, or use smaller images, a smaller bank or another device."
                ) from error
        else:
            yield result
            start = piece.stop
            continue
        # Only here is the error gone, and with it the failed chunk's tensors that it held on to.
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "DefaultCPUAllocator: can't allocate memory" in str(error)
    )
