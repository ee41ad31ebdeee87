"""In which order a loader goes through images: pure functions of seed and epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from fsad.errors import ConfigError

Share = tuple[int, int]
"""Which process of how many: process ``i`` of ``n`` gets every n-th batch, from the i-th on."""
ALL: Share = (0, 1)


def batches_of(count: int, batch_size: int, share: Share) -> list[int]:
    """Return the places in a process's batches of one pass over ``count`` images, in order."""
    first, step = share
    places = range(count)
    batches = [places[start : start + batch_size] for start in places[::batch_size]]
    return [place for batch in batches[first::step] for place in batch]


class EpochSampler(Sampler[int]):
    """Shuffles by a pure function of seed and epoch, so that a resumed run sees the same order.

    Args:
        size: How many items there are.
        seed: The run's seed.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        yield from rng.permutation(self.size).tolist()


@dataclass(frozen=True)
class Mix:
    """Batches of so many normal and so many anomalous images, so many to an epoch.

    Attributes:
        normals: Normal images per batch, 1 or more.
        anomalies: Images with a defect per batch, 1 or more.
        batches: To an epoch, 1 or more.
    """

    normals: int
    anomalies: int
    batches: int

    @property
    def size(self) -> int:
        """Images per batch."""
        return self.normals + self.anomalies


class MixedSampler(Sampler[int]):
    """Draws batches of a :class:`Mix`, a pure function of seed and epoch.

    Laws (``tests/data/test_sampling.py``): as of :class:`BalancedSampler`, but for the numbers.

    Args:
        labels: Whether each image has a defect, in the order of the data set.
        mix: Of the batches; their normal images come first.
        seed: The run's seed.

    Raises:
        ConfigError: All images are of one kind.
    """

    def __init__(self, labels: Sequence[bool], mix: Mix, seed: int) -> None:
        self.kinds = _both_kinds(labels)
        self.mix, self.seed, self.epoch = mix, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.mix.batches * self.mix.size

    def __iter__(self) -> Iterator[int]:
        counts = self.mix.normals, self.mix.anomalies
        orders = [
            _order(self.kinds[kind], count * self.mix.batches, (self.seed, self.epoch, kind))
            for kind, count in enumerate(counts)
        ]
        for batch in range(self.mix.batches):
            for order, count in zip(orders, counts, strict=True):
                yield from order[batch * count : (batch + 1) * count]


class BalancedSampler(Sampler[int]):
    """Draws batches of which one half has a defect, a pure function of seed and epoch.

    An epoch has as many batches as it takes to see each image of the larger kind once. Each kind is
    gone through in one permutation after the other.

    Laws (``tests/data/test_sampling.py``):

    * Every batch has as many normal as anomalous images.
    * Between any two images of a kind, the numbers of times that they are drawn differ by one at
      most.
    * The same seed and epoch give the same order.

    Args:
        labels: Whether each image has a defect, in the order of the data set.
        batch_size: Images per batch, an even number.
        seed: The run's seed.

    Raises:
        ConfigError: ``batch_size`` is odd, or all images are of one kind.
    """

    def __init__(self, labels: Sequence[bool], batch_size: int, seed: int) -> None:
        if batch_size % 2:
            raise ConfigError(
                "data.batch_size: expected an even number, one half with a defect, got "
                f"{batch_size}"
            )
        self.kinds = _both_kinds(labels)
        self.half = batch_size // 2
        self.batches = -(-max(map(len, self.kinds)) // self.half)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches * 2 * self.half

    def __iter__(self) -> Iterator[int]:
        count = self.batches * self.half
        orders = [_order(self.kinds[kind], count, (self.seed, self.epoch, kind)) for kind in (0, 1)]
        for start in range(0, count, self.half):
            for order in orders:
                yield from order[start : start + self.half]


def _both_kinds(labels: Sequence[bool]) -> list[list[int]]:
    """Return the places of normal and of anomalous images.

    Raises:
        ConfigError: There are none of one kind.
    """
    kinds = [[place for place, label in enumerate(labels) if label == kind] for kind in (0, 1)]
    if not all(kinds):
        raise ConfigError(
            "sampling: expected normal and anomalous images to balance, got "
            f"{len(kinds[0])} and {len(kinds[1])}"
        )
    return kinds


def _order(places: Sequence[int], count: int, key: tuple[int, ...]) -> list[int]:
    """Go through places in one permutation after the other, until there are ``count``."""
    rng = np.random.default_rng(list(key))
    rounds = -(-count // len(places))
    order = np.concatenate([rng.permutation(places) for _ in range(rounds)])
    return [int(place) for place in order[:count]]
