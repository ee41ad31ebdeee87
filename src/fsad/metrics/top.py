"""Finer bins towards the highest score."""

from collections.abc import Iterator

import numpy as np

from fsad.metrics.counts import Counts, Floats, Ints, look_up
from fsad.metrics.pixels import Pixels

CELLS = 1 << 12
"""Bins of each level."""

SHIFTS = (0, 3, 6, 9)
"""Bits of the key that a level's bins leave open."""


class TopBins:
    """Counts the pixels near the highest score again, the nearer the finer.

    Scores that saturate, as a blurred mask does at 1, crowd below their maximum in a way that a
    float's relative precision does not serve: in every halving of the distance to 1 lie about as
    many. Each level counts all scores in the ``CELLS`` bins up to the highest score so far; as it
    rises, bins that fall behind are dropped. Levels of wider bins have counted those scores too.

    Note:
        0.7 MB, whatever the number of scores.
    """

    def __init__(self) -> None:
        self._levels = {shift: Counts(CELLS) for shift in SHIFTS}
        self._highest: int | None = None  # key

    @property
    def nbytes(self) -> int:
        """Bytes of state."""
        return sum(counts.nbytes for counts in self._levels.values())

    def add(self, keys: Ints, pixels: Pixels) -> None:
        """Count a batch's keys, ``(p,)``, at least one."""
        self._rise(int(keys.max()))
        on_part, anomalous, weights = pixels.on_part, keys[pixels.anomalous], pixels.weights
        anomalous_on_part = on_part[pixels.anomalous]
        for shift in reversed(SHIFTS):
            first, counts = self._first(shift), self._levels[shift]
            (near,) = (keys >= first << shift).nonzero()
            if not len(near):
                return
            keys, on_part = look_up(keys, near), look_up(on_part, near)
            counts.add((keys >> shift) - first, on_part)
            (near,) = (anomalous >= first << shift).nonzero()
            anomalous, weights = anomalous[near], weights[near]
            anomalous_on_part = anomalous_on_part[near]
            counts.add_anomalous((anomalous >> shift) - first, anomalous_on_part, weights)

    def occupied(self, below: int) -> Iterator[tuple[int, Ints, Floats]]:
        """Yield the levels that leave fewer bits open than ``below``, the finest first.

        Yields:
            Bits left open; the lowest key of each bin that holds scores, ``(b,)``, ascending; what
            they hold, ``(5, b)``, as in :class:`fsad.metrics.counts.Counts`.
        """
        for shift, counts in self._levels.items():
            if shift < below:
                (bins,) = counts.columns[:2].sum(0).nonzero()
                keys = ((bins + self._first(shift)) << shift).astype(np.int32)
                yield shift, keys, counts.columns[:, bins]

    def _rise(self, highest: int) -> None:
        """Drop the bins that a new highest score leaves behind."""
        if self._highest is not None:
            for shift, counts in self._levels.items():
                counts.drop(max(0, (highest >> shift) - (self._highest >> shift)))
            highest = max(highest, self._highest)
        self._highest = highest

    def _first(self, shift: int) -> int:
        """Return the first of the level's bins, as a key without the bits that it leaves open."""
        return ((self._highest or 0) >> shift) - CELLS + 1
