"""Randomness that is a pure function of what it is for, so that a resumed run repeats it."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def generator(*key: int | str) -> np.random.Generator:
    """Return a NumPy generator seeded by the key alone, for example ``(seed, "noise", step)``."""
    return np.random.default_rng([_number(part) for part in key])


@contextmanager
def seeded(*key: int | str) -> Iterator[None]:
    """Seed torch's global generators by the key within the block, and restore them after it."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(int(generator(*key).integers(2**63)))
        yield


def _number(part: int | str) -> int:
    return zlib.crc32(part.encode()) if isinstance(part, str) else part
