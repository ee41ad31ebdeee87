"""From batches of patch features to a filled memory bank, in bounded memory if asked."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fsad.errors import check_at_least, check_fraction, check_positive, check_shape
from fsad.functional.coreset import k_center_greedy
from fsad.nn.memory_bank import MemoryBank

CHUNK = 4096  # rows measured in float64, or moved, at once


@dataclass(frozen=True)
class _Moments:
    """Mean and summed squared deviations of numbers seen, in float64.

    Source:
        Chan, Golub and LeVeque, 1983: merging the moments of parts.
    """

    count: int
    mean: Tensor
    squares: Tensor

    def merged(self, values: Tensor) -> "_Moments":
        """Return the moments with more numbers, at least one."""
        variance, mean = torch.var_mean(values.double(), correction=0)
        count = self.count + values.numel()
        gap, share = mean - self.mean, values.numel() / count
        squares = values.numel() * (variance + gap.square() * (1 - share))
        return _Moments(count, self.mean + gap * share, self.squares + squares)


class BankStream:
    r"""Takes the patch features of one domain batch by batch; ends in a normalised coreset.

    Without ``max_rows`` every row is held until the end. With it, at most ``2 * max_rows`` rows
    are: when these are there and another comes, :func:`k_center_greedy` reduces them to
    ``max_rows`` first. Mean and deviation are those of every row seen in either case.

    Laws:

    * The bank depends on the rows and their order, not on how they were split into batches.
    * Up to ``max_rows`` rows, the bank equals the one without a cap; up to ``2 * max_rows``, it is
      the coreset of every row seen.
    * The radii of the reductions add up: a row given up in the j-th of n lies within
      :math:`\rho_j + \dots + \rho_n + \rho` of the bank, with :math:`\rho_j` the cover radius of
      that reduction and :math:`\rho` that of the final coreset over the rows held.
    * Each :math:`\rho_j` is at most twice the smallest radius with which
      ``max_rows`` points, rows or not, can cover every row seen; :math:`\rho` likewise, with as
      many points as the bank has rows.

    Args:
        domain: ``"source"`` or ``"target"``, for messages.
        ratio: Share of the rows seen that the bank keeps, in (0, 1]; at least one row.
        max_rows: The most rows that the bank keeps; ``None``: no cap.
        expected_rows: How many rows will come, if known: no room is wasted and no row moved to make
            more. If it is wrong the bank is the same.

    Attributes:
        seen: Rows added so far.
        held: Rows held now.
        reductions: How often the rows held were reduced.

    Raises:
        ConfigError: ``ratio``, ``max_rows`` or ``expected_rows`` is out of range.

    Note:
        Memory is the rows held, and one copy of those that a reduction or the bank keeps: at most
        ``3 * max_rows`` rows, whatever the number of images. A reduction costs what
        :func:`k_center_greedy` does for ``max_rows`` of ``2 * max_rows`` rows, and comes once every
        ``max_rows`` rows.
    """

    def __init__(
        self,
        domain: str,
        ratio: float,
        max_rows: int | None = None,
        expected_rows: int | None = None,
    ) -> None:
        name = f"{domain} ratio"
        self.ratio = check_positive(name, check_fraction(name, ratio))
        if max_rows is not None:
            check_at_least("max_rows", max_rows, 1)
        if expected_rows is not None:
            check_at_least("expected_rows", expected_rows, 1)
        self.max_rows = max_rows
        self.expected_rows = expected_rows or 0
        self.seen = self.held = self.reductions = 0
        self._rows = torch.empty(0, 0)  # those held come first, then room for more
        zero = torch.zeros((), dtype=torch.float64)
        self._moments = _Moments(0, zero, zero)  # of what was seen before the last reduction
        self._measured = 0  # rows held that these contain

    @property
    def count(self) -> int:
        """How many rows the bank keeps if no more come."""
        # Rounded down, as published; 0.29 of 100 rows are 29, whatever binary fractions say.
        wanted = max(1, math.floor(self.ratio * self.seen + 1e-6))
        return min(wanted, self.held, self.max_rows or self.held)

    def add(self, features: Tensor) -> None:
        """Take a batch of rows; reduce what is held where the cap asks for it.

        Args:
            features: Patch features, ``(b, c)``.

        Raises:
            ShapeError: ``features`` has not two axes, or other channels than the batch before.
            NonFiniteError: The rows are to be reduced, and one of them is not finite.
        """
        known = {"c": self._rows.shape[1]} if self.seen else {}
        check_shape("features", features, "b c", **known)
        while len(features):
            room = len(features)
            if self.max_rows is not None:
                if self.held == 2 * self.max_rows:
                    self._reduce(self.max_rows)
                room = 2 * self.max_rows - self.held
            part, features = features[:room], features[room:]
            self._reserve(self.held + len(part), part)
            self._rows[self.held : self.held + len(part)] = part
            self.held += len(part)
            self.seen += len(part)

    def fill(self, bank: MemoryBank, progress: Callable[[int], object] = lambda _: None) -> None:
        """Fill a bank with the coreset of the rows held, z-scored by scalars.

        The stream stays as it is.

        Args:
            bank: The bank to fill.
            progress: Called with the number of rows picked so far, of :attr:`count`.

        Raises:
            BankError: No row was added, or the rows do not vary.
            NonFiniteError: A feature is NaN or infinite.
        """
        rows = self._rows[: self.held]
        mean, std = (value.to(rows) for value in self.statistics())
        if self.count < self.held:
            rows = rows[k_center_greedy(rows, self.count, progress)]
        else:
            rows = rows.clone()
        bank.fill(rows.sub_(mean).div_(std), mean, std)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Measure every number in the rows seen.

        Returns:
            Their scalar mean and scalar standard deviation (unbiased: divided by one less than
            their count), in float64.
        """
        moments = self._merged()
        return moments.mean, (moments.squares / (moments.count - 1)).sqrt()

    def _merged(self) -> _Moments:
        """Add the rows that came since the last reduction to the moments."""
        moments = self._moments
        # Chunks begin where that reduction ended: batches leave no trace in the rounding.
        for start in range(self._measured, self.held, CHUNK):
            moments = moments.merged(self._rows[start : min(start + CHUNK, self.held)])
        return moments

    def _reduce(self, count: int) -> None:
        """Keep a coreset of the rows held, in the order they came."""
        self._moments = self._merged()
        picks = k_center_greedy(self._rows[: self.held], count).sort().values
        for start in range(0, count, CHUNK):
            part = picks[start : start + CHUNK]
            # In place: no pick lies before the place it moves to, so none is overwritten early.
            self._rows[start : start + len(part)] = self._rows[part]
        self.held = self._measured = count
        self.reductions += 1

    def _reserve(self, wanted: int, like: Tensor) -> None:
        """Make room for as many rows; twice as many as before, so that few moves are needed."""
        room = len(self._rows)
        if wanted <= room:
            return
        room = max(wanted, 2 * room, self.expected_rows)
        if self.max_rows is not None:
            room = min(room, 2 * self.max_rows)
        rows = like.new_empty(room, like.shape[1])
        if self.held:
            rows[: self.held] = self._rows[: self.held]
        self._rows = rows
