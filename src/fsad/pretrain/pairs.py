"""What a step learns from: a surface in colour and in depth, and two images of anything."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fsad.errors import check_at_least
from fsad.pretrain.augment import developed, flipped
from fsad.pretrain.fields import height_field
from fsad.pretrain.grid import Array
from fsad.pretrain.images import GeneratedImages, to_tensor
from fsad.pretrain.parts import part_pair
from fsad.pretrain.shading import as_depth, photograph
from fsad.runtime.randomness import generator

PARTS = 0.3  # share of the surfaces that are the synthetic data set's parts
VIEWS = 4  # images of an item


class GeneratedPairs(Dataset[Tensor]):
    """Items of four images: a surface's photograph, its depth image, and two images of anything.

    Laws (``tests/pretrain/test_pairs.py``):

    * An item is a pure function of ``(seed, index, size)``.
    * The first two images show the same place cell by cell; the second is a depth image.
    * The others are images ``2 index`` and ``2 index + 1`` of :class:`GeneratedImages`.

    Args:
        size: Height and width, pixels, at least 32.
        count: Number of items; only the length.
        seed: Another seed, other images; below 2³².

    Raises:
        ConfigError: An argument is out of range.

    Note:
        On average about 60 ms on one core at 224 pixels.
    """

    def __init__(self, size: int, count: int, seed: int) -> None:
        self.count = check_at_least("count", count, 1)
        self.images = GeneratedImages(size, 2 * count, seed)
        self.size, self.seed = size, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        """Return an item, ``(4, 3, size, size)`` float32 in [0, 1].

        Raises:
            IndexError: There is no such item.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"index: expected 0 to {self.count - 1}, got {index}")
        rng = generator(self.seed, "pair", index)
        photo, depth = surface_pair(rng, self.size, self.seed)
        both = flipped(rng, np.concatenate([developed(rng, photo), depth], axis=-1))
        pair = [to_tensor(both[..., :3]), to_tensor(both[..., 3:])]
        return torch.stack([*pair, self.images[2 * index], self.images[2 * index + 1]])


def surface_pair(rng: np.random.Generator, size: int, seed: int) -> tuple[Array, Array]:
    """Draw the photograph and the depth image of one surface, ``(size, size, 3)`` each."""
    if rng.random() < PARTS:
        return part_pair(rng, size, seed)
    field = height_field(rng, size)
    return photograph(rng, field), as_depth(rng, field)
