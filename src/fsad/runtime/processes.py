"""The processes of one run that work together; one alone needs none of this."""

from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


def is_several() -> bool:
    """Tell whether the run has several processes that can talk to each other by now."""
    return distributed.is_available() and distributed.is_initialized()


def is_rank_zero() -> bool:
    """Tell whether this process is the one that writes."""
    return not is_several() or distributed.get_rank() == 0


def share() -> tuple[int, int]:
    """Return this process's number and how many there are."""
    return (distributed.get_rank(), distributed.get_world_size()) if is_several() else (0, 1)


def broadcast_from_first(value: T) -> T:
    """Return what the first process says, in all of them; each waits for it."""
    if not is_several():
        return value
    said: list[Any] = [value]
    distributed.broadcast_object_list(said)
    return said[0]  # type: ignore[no-any-return]


def gather(part: Tensor, rows: int) -> list[Tensor] | None:
    """Bring a tensor of every process to the first.

    Args:
        part: At most ``rows`` rows; the processes may have different numbers of them.
        rows: The most that any process has.

    Returns:
        The parts in the processes' order in the first process, None in the others.
    """
    if not is_several():
        return [part]
    number, count = share()
    sizes = [torch.zeros(1, dtype=torch.long, device=part.device) for _ in range(count)]
    distributed.all_gather(sizes, torch.tensor([len(part)], device=part.device))
    padded = part.new_zeros(rows, *part.shape[1:])
    padded[: len(part)] = part
    parts = [torch.empty_like(padded) for _ in range(count)] if number == 0 else None
    distributed.gather(padded, parts)
    if parts is None:
        return None
    return [each[: int(size)] for each, size in zip(parts, sizes, strict=True)]
