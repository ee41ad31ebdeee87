r"""Search a whole bank by products in full precision, certified against rounding.

Shapes: ``q`` queries, ``b`` bank rows, ``c`` channels, ``k`` neighbours.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fsad.functional.prepared import PreparedBank

BANK_CHUNK = 4096
GROUP = 64  # neighbouring bank rows that are looked at one by one only where their nearest counts
SPARE = 4  # extra candidates whose order rounding could have swapped, measured again exactly


class _Candidates(NamedTuple):
    """The rows that may be nearest: ``values`` and ``indices`` ``(q, wanted)``, ``bound`` ``(q,)``.

    Values are squared distances less a constant of the query, ascending; no row that is left out
    has a value below ``bound`` and below the last one kept.
    """

    values: Tensor
    indices: Tensor
    bound: Tensor


def search_in_full(
    queries: Tensor, bank: PreparedBank, k: int, available: int, own: Tensor | None
) -> tuple[Tensor, Tensor]:
    r"""Search by :math:`\|b - m\|^2 - 2\,(q - m)^\top b` in the queries' precision.

    Where rounding could have hidden a nearer row, all that come into question are searched in
    float64; and where rows are so near that this still tells them apart less well than measuring
    does, all of them are measured.

    Args:
        queries: One chunk of queries, ``(q, c)``, finite.
        bank: What is searched.
        k: Neighbours wanted.
        available: Rows that count.
        own: One bank row per query that does not count, ``(q,)``.

    Returns:
        Distances and bank indices, each ``(q, k)``.
    """
    wanted = min(k + SPARE, available)
    centred = queries - bank.centre
    norms, rounding = _norms_and_rounding(centred, bank)
    found = _candidates(_blocks(centred, bank, own), k, wanted, rounding)
    distances, indices = _measure(queries, bank, k, found)
    # ‖q - b‖² = value + ‖q - m‖² + 2 (q - m)·m, and nothing left out has a value below the limit
    limit = found.bound if wanted == available else found.bound.minimum(found.values[:, -1])
    limit = limit + norms + 2 * (centred @ bank.centre)
    unsure = (distances[:, -1].square() > limit - rounding).nonzero()[:, 0]
    for rows in torch.split(unsure, len(queries) // 2 + 1):  # float64 takes twice the memory
        if len(rows):
            others = None if own is None else own[rows]
            again = _blocks(centred[rows], bank, others)
            columns = _within(again, found.bound[rows], len(bank.rows))
            exact = _search_exactly(queries[rows], bank, columns, k, wanted, others)
            distances[rows], indices[rows] = exact
    return distances, indices


def _search_exactly(
    queries: Tensor, bank: PreparedBank, columns: Tensor, k: int, wanted: int, own: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Search the bank rows ``columns``, ascending, in float64: as :func:`search_in_full`."""
    if own is not None:  # among the columns now, or nowhere
        place = torch.searchsorted(columns, own).clamp(max=len(columns) - 1)
        own = torch.where(columns[place] == own, place, -1)
    centred = queries.double() - bank.centre.double()
    blocks = _blocks(centred, bank, own, columns)
    _, rounding = _norms_and_rounding(centred, bank)
    found = _candidates(blocks, k, min(wanted, len(columns)), rounding)
    found = found._replace(indices=columns[found.indices])
    distances, indices = _measure(queries, bank, k, found)
    if found.values.shape[1] == len(columns):
        return distances, indices
    # More rows than were kept may be as near, and by more than a measurement of them is off. None
    # is measured nearer than 0.
    squares = distances[:, -1].double().square()
    coarse = rounding > (queries.shape[1] / 2 + 8) * torch.finfo(queries.dtype).eps * squares
    hidden = coarse & (found.values[:, -1] <= found.bound) & (squares > 0)
    rows = hidden.nonzero()[:, 0]
    if len(rows):
        others = None if own is None else own[rows]
        again = _blocks(centred[rows], bank, others, columns)
        measured = _measure_all(queries[rows], bank, k, again, found.bound[rows], columns)
        distances[rows], indices[rows] = measured
    return distances, indices


def _measure_all(
    queries: Tensor,
    bank: PreparedBank,
    k: int,
    blocks: Iterable[tuple[int, Tensor]],
    bound: Tensor,
    columns: Tensor,
) -> tuple[Tensor, Tensor]:
    """Measure all rows of ``columns`` with a value up to ``bound``: the k nearest, ``(q, k)``."""
    distances = queries.new_full((len(queries), k), torch.inf)
    indices = torch.zeros(distances.shape, dtype=torch.long, device=queries.device)
    for start, block in blocks:
        # Query by query: few ever come here, and each with rows of its own
        for row, near in enumerate(block <= bound[:, None]):
            there = columns[start + near.nonzero()[:, 0]]
            measured = distances_to(queries[row], bank, there)
            both = torch.cat([distances[row], measured]), torch.cat([indices[row], there])
            best = ranked(both[0][None], both[1][None], k)
            distances[row], indices[row] = best[0][0], best[1][0]
    return distances, indices


def _norms_and_rounding(centred: Tensor, bank: PreparedBank) -> tuple[Tensor, Tensor]:
    """Return the queries' squared norms and how far rounding can move a squared distance, ``(q,)``.

    The latter is the worst that sums of c products can do, in whatever order they are added, with
    some room for the few operations around them.
    """
    lengths = torch.linalg.vector_norm(centred, dim=1)
    norms = lengths.square()
    largest = bank.norms.max().sqrt() + torch.linalg.vector_norm(bank.centre)  # of a row, at most
    spread = norms + bank.norms.max() + 4 * lengths * largest
    return norms, (centred.shape[1] / 2 + 8) * torch.finfo(centred.dtype).eps * spread


def _blocks(
    centred: Tensor, bank: PreparedBank, own: Tensor | None, columns: Tensor | None = None
) -> Iterator[tuple[int, Tensor]]:
    r"""Yield :math:`\|b - m\|^2 - 2\,(q - m)^\top b` for a part of the bank after another.

    Args:
        centred: q - m, ``(q, c)``.
        bank: What is searched.
        own: One row per query that counts as infinitely far, ``(q,)``; below 0 is none.
        columns: The rows to take, ``(n,)``; all of them if not given. These are centred as well,
            and computed in the precision of ``centred``.

    Yields:
        The part's first row and its block ``(q, w)``, w a multiple of ``GROUP``, padded with
        infinity. The next block overwrites it.
    """
    count = len(bank.rows if columns is None else columns)
    chunk = BANK_CHUNK if columns is None else BANK_CHUNK // 4  # which are copied, and in float64
    step = max(GROUP, chunk // GROUP * GROUP)
    buffer = centred.new_empty(len(centred) * min(step, _whole_groups(count)))
    for start in range(0, count, step):
        stop = min(start + step, count)
        if columns is None:
            part, norms = bank.rows[start:stop].to(centred.dtype), bank.norms[start:stop]
        else:
            part = bank.rows[columns[start:stop]].to(centred.dtype).sub_(bank.centre)
            norms = torch.linalg.vector_norm(part, dim=1).square()
        width = _whole_groups(stop - start)
        block = buffer[: len(centred) * width].view(len(centred), width)
        torch.addmm(norms, centred, part.T, alpha=-2, out=block[:, : stop - start])
        block[:, stop - start :] = torch.inf
        if own is not None:
            rows = ((own >= start) & (own < stop)).nonzero()[:, 0]
            block[rows, own[rows] - start] = torch.inf
        yield start, block


def _whole_groups(count: int) -> int:
    return -(-count // GROUP) * GROUP


def _candidates(
    blocks: Iterable[tuple[int, Tensor]], k: int, wanted: int, rounding: Tensor
) -> _Candidates:
    """Keep the ``wanted`` least values of every query, as far as they may be among the k least.

    The least entries of a block lie in the groups whose minima are least, so that only these need
    sorting; and most blocks have nothing new for most queries.
    """
    window = 4 * rounding  # two values this far apart are in the order of their distances
    values = rounding.new_full((len(rounding), wanted), torch.inf)
    indices = torch.zeros(values.shape, dtype=torch.long, device=values.device)
    for start, block in blocks:
        groups = block.view(len(block), -1, GROUP)
        minima = groups.amin(dim=2)
        rows = (minima.amin(dim=1) <= values[:, k - 1] + window).nonzero()[:, 0]
        if not len(rows):
            continue
        least = minima[rows].topk(min(wanted, minima.shape[1]), dim=1, largest=False).indices
        entries = groups[rows[:, None], least].flatten(1)
        best = entries.topk(min(wanted, entries.shape[1]), dim=1, largest=False)
        places = start + least.gather(1, best.indices // GROUP) * GROUP + best.indices % GROUP
        kept = torch.cat([values[rows], best.values], dim=1).topk(wanted, dim=1, largest=False)
        values[rows] = kept.values
        indices[rows] = torch.cat([indices[rows], places], dim=1).gather(1, kept.indices)
    return _Candidates(values, indices, values[:, k - 1] + window)


def _within(blocks: Iterable[tuple[int, Tensor]], bound: Tensor, count: int) -> Tensor:
    """Find the rows with a value up to ``bound`` for any query: indices, ascending."""
    marks = [(block <= bound[:, None]).any(dim=0) for _, block in blocks]
    return torch.cat(marks)[:count].nonzero()[:, 0]


def _measure(
    queries: Tensor, bank: PreparedBank, k: int, found: _Candidates
) -> tuple[Tensor, Tensor]:
    """Measure the candidates without cancellation and return the k nearest, ``(q, k)`` each."""
    distances = queries.new_full(found.values.shape, torch.inf)
    for column, indices in enumerate(found.indices.unbind(dim=1)):
        if column < k:
            distances[:, column] = distances_to(queries, bank, indices)
        else:
            rows = (found.values[:, column] <= found.bound).nonzero()[:, 0]
            distances[rows, column] = distances_to(queries[rows], bank, indices[rows])
    return ranked(distances, found.indices, k)


def ranked(distances: Tensor, indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k least distances ``(q, k)`` and their bank indices, equal ones by index."""
    # By bank index first, so that a stable sort leaves equal distances in that order.
    by_index = indices.sort(dim=1)
    ascending = distances.gather(1, by_index.indices).sort(dim=1, stable=True)
    order = ascending.indices[:, :k]
    return ascending.values[:, :k], by_index.values.gather(1, order)


def distances_to(queries: Tensor, bank: PreparedBank, indices: Tensor) -> Tensor:
    """Measure every query's distance to one bank row, or of one ``(c,)`` to many, ``(q,)``."""
    near = bank.rows.index_select(0, indices).to(queries.dtype)
    distances: Tensor = torch.linalg.vector_norm(near.sub_(queries), dim=1)
    return distances
