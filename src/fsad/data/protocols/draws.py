"""Seeded draws of samples: nested, and a function of seed, category and listing alone."""

import zlib
from collections.abc import Sequence

import numpy as np

from fsad.data.sample import Sample
from fsad.errors import ConfigError

SELECTIONS = ("random", "first")


def check_selection(selection: str) -> str:
    """Return ``selection`` if it is a way to choose shots.

    Raises:
        ConfigError: It is not.
    """
    if selection not in SELECTIONS:
        raise ConfigError(
            f"data.shot_selection: expected one of {', '.join(SELECTIONS)}, got {selection!r}"
        )
    return selection


def choose_shots(
    samples: Sequence[Sample], category: str, shots: int, selection: str, seed: int
) -> list[Sample]:
    """Choose the shots of a category.

    Laws (``tests/data/test_protocols.py``):

    * The shots are a function of the arguments: no other generator moves them.
    * Fewer shots are the first of more: 1 in 2 in 5.

    Args:
        samples: The training split, sorted.
        category: Its name; every category has its own draw.
        shots: How many.
        selection: ``random`` for the start of a seeded permutation, ``first`` for the first by
            name.
        seed: Seed of the permutation.

    Returns:
        The shots, in the order of the draw.

    Raises:
        ConfigError: ``selection`` is unknown, or there are fewer samples than shots.
    """
    if shots > len(samples):
        raise ConfigError(
            f"data.shots: expected at most {len(samples)} for category {category!r}, got {shots}. "
            "Take fewer shots or add training images."
        )
    if check_selection(selection) == "first":
        return list(samples[:shots])
    return permuted(samples, category, seed)[:shots]


def permuted(samples: Sequence[Sample], category: str, seed: int) -> list[Sample]:
    """Return samples in a seeded order; the first k are what k draws without replacement give.

    Args:
        samples: Sorted, so that the order does not depend on the file system.
        category: Its name; every category has its own draw.
        seed: Seed of the permutation.
    """
    rng = np.random.default_rng([seed, zlib.crc32(category.encode())])
    return [samples[place] for place in rng.permutation(len(samples))]
