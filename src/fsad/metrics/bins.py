"""Bins for float32 scores whose range nobody knows beforehand, in bounded memory."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fsad.metrics.counts import Ints, look_up

BINS = 1 << 16
"""Most bins there are at a time."""

_PAGE = 6  # bins come in pages of 2^6, so that the gaps between scores need none
_PAGES = BINS >> _PAGE
_DIRECTORY = 1 << 16  # most pages from the lowest score's to the highest's, absent ones included
_LOWEST = np.int32(-(1 << 31))
_ABSENT = _LOWEST  # in the directory: no score has come that lies in this page


def keys_of(scores: Tensor) -> Ints:
    """Turn scores into whole numbers of the same order, equal if and only if the scores are.

    Without its sign, a float's bits ascend with its magnitude: they count the floats from 0 up to
    it. Both zeros have key 0.

    Args:
        scores: Any shape, float32, finite, on the CPU, at least one.

    Returns:
        Keys, same shape, int32; may share the scores' memory.
    """
    bits: Ints = scores.contiguous().numpy().view(np.int32)
    if bits.min() >= 0:
        return bits
    return np.where(bits < 0, _LOWEST - bits, bits)


class AdaptiveBins:
    """Assigns scores to at most ``BINS`` bins, as narrow as these suffice for.

    A bin holds the keys that agree in all but their last ``shift`` bits: 2^shift neighbouring
    floats, so its width is relative to the score's magnitude. Bins exist in pages of 64, made when
    a score falls into them. So gaps (from 0 to 1e-9, from negative to positive scores) take no
    bins, and a tail of few tiny scores takes few. When there are no pages left, ``shift`` grows by
    one and neighbouring bins become one: counts move without error.

    Laws (``tests/metrics``): the bins depend on the set of scores alone, not on their
    order or batches; in ascending bins lie ascending scores.

    Attributes:
        shift: Bits of the key that a bin leaves open; 0: one float per bin.

    Note:
        0.3 MB of state, whatever the number of scores.
    """

    def __init__(self) -> None:
        self.shift = 0
        self._pages = np.empty(0, np.int64)  # numbers of the pages, as they are stored
        self._first = 0  # number of the page at which the directory starts
        self._directory = np.full(_DIRECTORY, _ABSENT)

    @property
    def nbytes(self) -> int:
        """Bytes of state."""
        return self._pages.nbytes + self._directory.nbytes

    def place(self, keys: Ints) -> tuple[Ints, NDArray[np.int64] | None]:
        """Find the bin of each key, making room where there is none.

        Args:
            keys: ``(p,)``, as :func:`keys_of` gives them, at least one.

        Returns:
            Bins, ``(p,)``, from 0 to ``BINS - 1``; and, if bins became wider, where each earlier
            bin went, ``(b,)``.
        """
        shift, pages = self.shift, self._pages
        low, high = (int(key) >> (shift + _PAGE) for key in (keys.min(), keys.max()))
        if low < self._first or high >= self._first + _DIRECTORY:
            self._lay_out(pages, low, high)
        bins, page, start = self._look_up(keys)
        if start.min() == _ABSENT:
            arrived = np.bincount(page[start == _ABSENT]).nonzero()[0] + self._first
            self._lay_out(np.concatenate([self._pages, arrived]))
            bins, page, start = self._look_up(keys)
        bins += start
        return bins, None if shift == self.shift else self._destination(shift, pages)

    def ascending(self) -> NDArray[np.int64]:
        """Return the bins that exist, from the lowest score's to the highest's, ``(b,)``."""
        return _spread(self._pages.argsort())

    def _look_up(self, keys: Ints) -> tuple[Ints, Ints, Ints]:
        """Return bin and page as the directory counts them, and what to add to such a bin."""
        bins = keys >> self.shift
        bins -= np.int32(self._first << _PAGE)
        page = bins >> _PAGE
        return bins, page, look_up(self._directory, page)

    def _lay_out(self, pages: NDArray[np.int64], *reach: int) -> None:
        """Choose the narrowest bins for which memory suffices, and write the directory.

        Args:
            pages: Pages that must exist.
            reach: Pages that the directory must cover besides.
        """
        ends = [*reach, int(pages.min()), int(pages.max())] if len(pages) else [*reach]
        first, last = min(ends), max(ends)
        while last - first >= _DIRECTORY or len(pages) > _PAGES:
            first, last, pages = first >> 1, last >> 1, np.unique(pages >> 1)
            self.shift += 1
        self._first, self._pages = first, pages
        numbers = pages - first
        self._directory[:] = _ABSENT
        self._directory[numbers] = (np.arange(len(pages)) - numbers) << _PAGE

    def _destination(self, shift: int, pages: NDArray[np.int64]) -> NDArray[np.int64]:
        """Say where the bins of these pages, as they were at an earlier shift, are now."""
        bins = (_spread(pages) >> (self.shift - shift)) - (self._first << _PAGE)
        moved: NDArray[np.int64] = bins + self._directory[bins >> _PAGE]
        return moved


def _spread(pages: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the bins of pages one after the other."""
    return ((pages[:, None] << _PAGE) + np.arange(1 << _PAGE)).ravel()
