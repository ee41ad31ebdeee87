"""Small samples of features that a run keeps, so that figures need no model."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fsad.runtime.randomness import generator
from fsad.storage.tensors import read_tensors

EMBEDDINGS = "embeddings"
ROWS = 300
"""Most rows of a set. A point each: more would hide one another."""


def choose(count: int, most: int, *key: int | str) -> Tensor:
    """Choose some of ``count`` places, by the key alone.

    Args:
        count: How many there are.
        most: How many are wanted; all, if there are no more.
        key: Of :func:`fsad.runtime.randomness.generator`.

    Returns:
        Places without repetition, in increasing order, int64.
    """
    chosen = generator(*key).choice(count, min(count, most), replace=False)
    return torch.from_numpy(np.sort(chosen))


def read_embeddings(category: Path) -> dict[str, Tensor]:
    """Read what a category of a run kept.

    Args:
        category: Its folder.

    Returns:
        Sets of features, float32 ``(r, c)`` with r up to :data:`ROWS`, by the name of the stage
        and, behind a dot, of the set. Empty if the category kept none: its method has none to
        show, or the run was told to leave them out.

    Raises:
        DataError: The file is damaged.
    """
    path = category / f"{EMBEDDINGS}.safetensors"
    return read_tensors(path)[0] if path.is_file() else {}
