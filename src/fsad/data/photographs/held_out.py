"""Which good images are tested, where a data set is distributed without a split."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

TESTED = 0.25
"""Share of the good images."""
SEED = 42


def held_out(good: Sequence[T]) -> tuple[list[T], list[T]]:
    """Split good images into those for training and those for the test.

    A quarter is tested, as published protocols have it: the one that scikit-learn's
    ``train_test_split(good, test_size=0.25, random_state=42)`` takes, of the sorted list. (They
    split the list in the order in which a file system returns it, which nobody can repeat.)

    Args:
        good: Sorted.

    Returns:
        Training and test images, sorted as they were.
    """
    count = int(np.ceil(TESTED * len(good)))
    tested = set(np.random.RandomState(SEED).permutation(len(good))[:count].tolist())
    parts: tuple[list[T], list[T]] = ([], [])
    for place, image in enumerate(good):
        parts[place in tested].append(image)
    return parts
