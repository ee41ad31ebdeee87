r"""Screen a bank in 8-bit integers: which rows can be among the nearest, with a certified bound.

A row x, centred, is stored as :math:`s c` with integer codes c and its own scale s. For a query y
stored as :math:`t d`, Cauchy and Schwarz bound what this leaves out of the scalar product:

.. math:: |y^\top x - t s\, d^\top c| \le \|y - t d\| \|x\| + \|t d\| \|x - s c\|

Products of 8-bit integers are exact and, on processors made for them, many times faster than those
of floats; so they leave few rows, and these are worth measuring as they are.

Shapes: ``q`` queries, ``b`` bank rows, ``n`` rows of either, ``c`` channels, ``k`` neighbours.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

LIMIT = 127  # of a code, on both sides of 0
BLOCK = 1024  # bank rows whose products stay in the processor's cache
GROUP = 32  # bank rows of a block that are looked at one by one only where their nearest counts
LANE = 32  # groups that the least entry is taken of side by side
KEPT = 128  # rows kept per query; where more come into question, screening does not pay
CROWD = 24  # groups of one block that one query may look at
PAIRS = 6144  # of a query and a group of rows that are looked at together, in some 12 MB
WIDEST = 2**17  # channels; their products still fit in 32 bits
LARGEST = 1e18  # length; the products of larger ones may overflow
TINY = 2.0**-63  # whose square is the least normal float32: smaller squares may vanish


@dataclass(frozen=True, eq=False)
class Codes:
    """Rows as 8-bit integers, and how much that leaves out.

    Attributes:
        codes: c, int8 ``(n, c)``.
        scales: s, ``(n,)``.
        squares: Squared lengths of the rows, as computed, ``(n,)``.
        lengths: At least the rows' lengths, ``(n,)``.
        residuals: At least the lengths of what the codes leave out, ``(n,)``, with room for the
            rounding of a product with one of them.
    """

    codes: Tensor
    scales: Tensor
    squares: Tensor
    lengths: Tensor
    residuals: Tensor

    def __getitem__(self, rows: slice) -> "Codes":
        """Return some of the rows, as views."""
        return Codes(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def empty(cls, rows: int, channels: int) -> "Codes":
        """Make room for rows that are still to be written, on the CPU."""
        codes = torch.empty(rows, channels, dtype=torch.int8, device="cpu")
        return cls(codes, *torch.empty(4, rows, dtype=torch.float32, device="cpu").unbind())


@functools.cache
def int8_is_fast() -> bool:
    """Tell whether this processor multiplies 8-bit integers exactly and faster than floats.

    It takes instructions that add four products in 32 bits at once (VNNI); without them the library
    is slower, and some of its kernels saturate. It may also be told not to use them, so that the
    largest products are tried once. PyTorch tells and multiplies through functions that are not
    public; where they are missing the answer is no.
    """
    try:
        supported = torch.cpu._is_vnni_supported() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    except AttributeError:
        return False
    return bool(supported) and hasattr(torch, "_int_mm") and _products_are_exact()


def _products_are_exact() -> bool:
    channels = 64
    left = torch.full((32, channels), LIMIT, dtype=torch.int8, device="cpu")
    right = torch.full((64, channels), LIMIT, dtype=torch.int8, device="cpu")
    right[::2] = -LIMIT
    expected = channels * LIMIT * right.int()[:, 0].expand(32, -1)
    out = torch.empty(expected.shape, dtype=torch.int32, device="cpu")
    int8_products(left, right, out)
    return torch.equal(out, expected)


def int8_products(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Multiply ``(m, c)`` by ``(n, c)`` in int8 into int32 ``(m, n)``, exactly."""
    torch._int_mm(left, right.T, out=out)


def rounding(channels: int) -> float:
    """Return a bound of the relative rounding of a float32 length over some channels.

    The length of c numbers, added up in any order, is off by at most c / 2 + 2 units of 2^-24, and
    the centring before it by one more. This is four times as much: the rest is for the few
    operations that compute the bounds themselves.
    """
    return (channels + 8) * torch.finfo(torch.float32).eps


def quantise(rows: Tensor, out: Codes | None = None) -> Codes:
    """Round rows to 8-bit codes with one scale each.

    Args:
        rows: Centred rows, float32 ``(n, c)`` on the CPU, of finite lengths; they are overwritten.
        out: Where to write the result; made anew if not given.

    Returns:
        Their codes. What they leave out is measured, so that the bound holds whatever the rows.

    Note:
        A few passes: give it no more rows at a time than stay in the processor's cache.
    """
    channels = rows.shape[1]
    out = Codes.empty(*rows.shape) if out is None else out
    floor = math.sqrt(channels) * TINY
    relative = rounding(channels)
    # Of rows too small for a normal scale the codes are too small as well, and so is what they miss
    torch.div(rows.abs().amax(dim=1).clamp_(min=1e-30), LIMIT, out=out.scales)
    scales = out.scales[:, None]
    codes = (rows / scales).round_().clamp_(-LIMIT, LIMIT)
    out.codes.copy_(codes)
    lengths = torch.linalg.vector_norm(rows, dim=1)
    torch.square(lengths, out=out.squares)
    missed = torch.linalg.vector_norm(rows.sub_(codes.mul_(scales)), dim=1)
    torch.add(lengths * (1 + relative), 2 * floor, out=out.lengths)
    # Rounding the product of codes, scales and squares, and the two lines above: 16 units at most
    room = 16 * torch.finfo(torch.float32).eps
    torch.add(missed * (1 + relative), room * lengths + 2 * floor, out=out.residuals)
    return out


def reach(measured: Tensor, queries: Codes) -> Tensor:
    """Return the lower bound above which no row can be measured nearer than ``measured``.

    Args:
        measured: A float32 distance of every query, ``(q,)``.
        queries: The queries' codes.

    Returns:
        Squared distances less the query's squared length, ``(q,)``, with room for their rounding.
    """
    channels = queries.codes.shape[1]
    relative, floor = 4 * rounding(channels), math.sqrt(channels) * TINY
    squares = measured.square() * (1 + relative)
    return squares - queries.squares * (1 - relative) + 4 * floor * queries.lengths


class Screened(NamedTuple):
    """The rows that can be among the k nearest.

    Attributes:
        values: Lower bounds of squared distances less the query's squared length, ascending,
            ``(q, n)``; infinity where there are no more.
        indices: Their bank indices, ``(q, n)``; 0 where there are no more.
        lost: Queries of which too many rows came into question, bool ``(q,)``; theirs are missing.
    """

    values: Tensor
    indices: Tensor
    lost: Tensor


def screen(
    queries: Codes, bank: Iterable[Codes], k: int, own: Tensor | None = None
) -> Screened | None:
    r"""Find the bank rows that can be among the k nearest of each query.

    Law: the k rows at the least true distances are among those returned, and so is every row whose
    lower bound does not exceed the k-th least upper bound.

    Args:
        queries: The queries' codes, about the bank's centre.
        bank: The bank's codes, about the same centre, in blocks of at most ``BLOCK``.
        k: Neighbours wanted, at least 1; the bank holds as many.
        own: One bank row per query that does not count, ``(q,)``.

    Returns:
        What is left of the bank; nothing if too much is, for more than half of the queries, or if
        lengths are so large that products may overflow.

    Note:
        Cost is ``q·b·c`` products of 8-bit integers and four passes over ``(q, b)``; the transient
        memory is a few blocks of ``(q, BLOCK)`` and ``(q, KEPT)``.
    """
    count, channels = queries.codes.shape
    if channels > WIDEST or float(queries.lengths.amax()) > LARGEST:
        return None
    survivors = _Survivors(count, k)
    ints = torch.empty(count * BLOCK, dtype=torch.int32, device="cpu")
    floats = torch.empty(count * _whole_lanes(BLOCK), dtype=torch.float32, device="cpu")
    factors = torch.stack([2 * queries.residuals, 2 * (queries.lengths + queries.residuals)], dim=1)
    doubled = -2 * queries.scales[:, None]
    start = 0
    for part in bank:
        rows = len(part.codes)
        if float(part.lengths.amax()) > LARGEST:
            return None
        products = ints[: count * rows].view(count, rows)
        values = floats[: count * _whole_lanes(rows)].view(count, -1)
        int8_products(queries.codes, part.codes, products)
        inside = values[:, :rows]
        inside.copy_(products).mul_(part.scales)
        torch.addcmul(part.squares, inside, doubled, out=inside)  # |x|^2 - 2 y.x, nearly
        values[:, rows:] = torch.inf
        if own is not None:
            here = ((own >= start) & (own < start + rows)).nonzero()[:, 0]
            values[here, own[here] - start] = torch.inf
        survivors.add(values, factors, _row_factors(part, values.shape[1]), start)
        if survivors.too_many():
            return None
        start += rows
    return survivors.ranked()


def _whole_lanes(rows: int) -> int:
    return -(-rows // (GROUP * LANE)) * GROUP * LANE


def _row_factors(part: Codes, width: int) -> Tensor:
    """Return what :func:`_errors` needs of the rows, ``(3, width)``; 0 for those that are not."""
    square = 4 * rounding(part.codes.shape[1]) * part.lengths.square()  # of the squared length
    factors = part.lengths.new_zeros(3, width)
    factors[:, : len(square)] = torch.stack([part.lengths, part.residuals, square])
    return factors


def _errors(factors: Tensor, row_factors: Tensor) -> Tensor:
    """Bound how far values are off: the queries' factors ``(..., 2)``, the rows' ``(3, ...)``."""
    return factors[..., 0] * row_factors[0] + factors[..., 1] * row_factors[1] + row_factors[2]


class _Survivors:
    """The rows that can still be among the k nearest, as the bank passes by.

    Args:
        count: Number of queries, q.
        k: Neighbours wanted.
    """

    def __init__(self, count: int, k: int) -> None:
        self.k = k
        # The least upper bounds of k different rows; the infinity of a row that does not count is
        # above all of them.
        largest = torch.finfo(torch.float32).max
        self.uppers = torch.full((count, k), largest, dtype=torch.float32, device="cpu")
        self.lost = torch.zeros(count, dtype=torch.bool, device="cpu")
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # query, bank index, lower bound
        self.held = 0

    def add(self, values: Tensor, factors: Tensor, row_factors: Tensor, start: int) -> None:
        """Take what can count from a block.

        Args:
            values: Squared distances less the query's squared length, ``(q, w)``.
            factors: ``(q, 2)``.
            row_factors: ``(3, w)``.
            start: Bank index of the first column.
        """
        count = len(values)
        # Rows of a group lie far apart, so that alike neighbours are in different ones
        groups = values.view(count, GROUP, -1)
        minima = groups.amin(dim=1)
        largest = row_factors.view(3, GROUP, -1).amax(dim=1)
        errors = _errors(factors[:, None], largest)
        self._lower_uppers(minima + errors)
        near = minima - errors <= self.uppers[:, -1:]
        self.lost |= near.sum(dim=1) > CROWD
        query, group = (near & ~self.lost[:, None]).nonzero().unbind(dim=1)
        for piece in (slice(at, at + PAIRS) for at in range(0, len(query), PAIRS)):
            of, where = query[piece], group[piece]
            bound = self.uppers[of, -1] + errors[of, where]
            entries = groups[of, :, where]
            pair, place = (entries <= bound[:, None]).nonzero().unbind(dim=1)
            of, column = of[pair], where[pair] + place * minima.shape[1]
            lowers = entries[pair, place] - _errors(factors[of], row_factors[:, column])
            keep = (lowers <= self.uppers[of, -1]).nonzero()[:, 0]
            self.pairs.append((of[keep], column[keep] + start, lowers[keep]))
            self.held += len(keep)
            if self.held > count * KEPT // 2:
                self._prune()

    def _lower_uppers(self, uppers: Tensor) -> None:
        if self.k == 1:
            torch.minimum(self.uppers, uppers.amin(dim=1, keepdim=True), out=self.uppers)
            return
        rows = (uppers.amin(dim=1) < self.uppers[:, -1]).nonzero()[:, 0]
        both = torch.cat([self.uppers[rows], uppers[rows]], dim=1)
        self.uppers[rows] = both.topk(self.k, dim=1, largest=False).values

    def _prune(self) -> Tensor:
        """Leave out what cannot count any more; return how many are left per query, ``(q,)``."""
        query, index, lowers = (torch.cat(parts) for parts in zip(*self.pairs, strict=True))
        keep = (lowers <= self.uppers[query, -1]) & ~self.lost[query]
        counts = query[keep].bincount(minlength=len(self.lost))
        self.lost |= counts > KEPT
        keep &= ~self.lost[query]
        self.pairs = [(query[keep], index[keep], lowers[keep])]
        self.held = len(self.pairs[0][0])
        return counts.masked_fill_(self.lost, 0)

    def too_many(self) -> bool:
        """Tell whether more than half of the queries are lost."""
        return 2 * int(self.lost.sum()) > len(self.lost)

    def ranked(self) -> Screened | None:
        """Return what is left as tables."""
        counts = self._prune()
        if self.too_many():
            return None
        ((query, index, lowers),) = self.pairs
        order = query.argsort(stable=True)
        query = query[order]
        place = torch.arange(len(order), device="cpu") - (counts.cumsum(0) - counts)[query]
        width = max(self.k, int(counts.max()))
        values = lowers.new_full((len(counts), width), torch.inf)
        indices = index.new_zeros(values.shape)
        values[query, place] = lowers[order]
        indices[query, place] = index[order]
        ascending = values.sort(dim=1, stable=True)
        return Screened(ascending.values, indices.gather(1, ascending.indices), self.lost)
