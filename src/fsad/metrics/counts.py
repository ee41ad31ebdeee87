"""Pixels counted by bin: all and the anomalous ones, off and on the part.

Here and in its neighbours whole numbers are added and compared by numpy, and looked up and counted
by torch functions that run in one thread. Either is the faster one at this, and no thread has to
wait for another, which costs more than the work itself when other processes keep the cores busy.
"""

import numpy as np
import torch
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


def look_up(table: Ints, positions: NDArray[np.integer]) -> Ints:
    """Return the entries of a table at these positions, none of them negative."""
    found: Ints = torch.from_numpy(table).index_select(0, torch.from_numpy(positions)).numpy()
    return found


class Counts:
    """What ``b`` bins hold.

    Attributes:
        columns: ``(5, b)``, float64: pixels off and on the part, the anomalous ones of these off
            and on the part, and the sum of these ones' :attr:`fsad.metrics.pixels.Pixels.weights`.
            All are whole numbers, exact up to 2^53.
    """

    def __init__(self, bins: int) -> None:
        self.columns: Floats = np.zeros((5, bins))

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return self.columns.nbytes

    def add(self, bins: Ints, on_part: Ints) -> None:
        """Count pixels, anomalous or not: bins and whether on the part, ``(p,)`` each."""
        self._add(0, bins + on_part * np.int32(self.columns.shape[1]), np.ones(1))

    def add_anomalous(self, bins: Ints, on_part: Ints, weights: Floats) -> None:
        """Count those of the pixels that are anomalous, ``(a,)`` each."""
        self._add(2, bins + on_part * np.int32(self.columns.shape[1]), np.ones(1))
        self._add(4, bins, weights)

    def move(self, moved: NDArray[np.int64]) -> None:
        """Bring the contents of the first bins to where they belong now, ``(b,)``."""
        earlier = torch.from_numpy(self.columns[:, : len(moved)].copy())
        self.columns[:] = 0
        torch.from_numpy(self.columns).index_add_(1, torch.from_numpy(moved), earlier)

    def drop(self, first: int) -> None:
        """Forget the first bins, let the others move down and end with empty ones."""
        if first:
            kept = self.columns[:, first:].copy()
            self.columns[:] = 0
            self.columns[:, : kept.shape[1]] = kept

    def _add(self, row: int, places: Ints, amounts: Floats) -> None:
        """Add amounts, one or one each, to entries counted from the start of a row."""
        entries = torch.from_numpy(self.columns[row:].reshape(-1))
        each = torch.from_numpy(amounts).expand(len(places))
        entries.index_add_(0, torch.from_numpy(places), each)
