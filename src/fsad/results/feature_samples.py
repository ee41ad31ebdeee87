"""Small samples of features that a run keeps, so that figures need no model."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from fsad.runtime.randomness import generator
from fsad.storage.tensors import read_tensors

EMBEDDINGS = "embeddings"
ROWS = 300
"""Most rows of a set. A point each: more would hide one another."""


RESPONSES = "responses"
"""A set with a row for each :class:`Response`."""


class Response(NamedTuple):
    """A patch of an image that a learnt direction responds to; a row of numbers in a file.

    Attributes:
        direction: Number of the direction, from 0.
        image: Number of the image with a defect that was learnt from, in the order of the draw.
        top: Where the patch begins, as a share of the image's height.
        left: And of its width.
        height: Of the patch, as such a share.
        width: Of the patch.
        cosine: How alike they are, in [-1, 1].
    """

    direction: int
    image: int
    top: float
    left: float
    height: float
    width: float
    cosine: float

    @classmethod
    def of_row(cls, row: Sequence[float]) -> Self:
        """Read one back."""
        direction, image, *numbers = (float(number) for number in row)
        return cls(int(direction), int(image), *numbers)


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
