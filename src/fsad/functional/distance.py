"""Exact nearest neighbours in bounded memory, and the similarity made of distances.

Shapes: ``q`` queries, ``b`` bank rows, ``c`` channels, ``k`` neighbours.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fsad.errors import ConfigError, NonFiniteError, check_at_least, check_shape
from fsad.functional import screen
from fsad.functional.chunks import chunk_size, in_chunks
from fsad.functional.screen import Codes

BANK_CHUNK = 4096
PREPARE_CHUNK = 256  # rows that stay in the processor's cache
GROUP = 64  # neighbouring bank rows that are looked at one by one only where their nearest counts
SPARE = 4  # extra candidates whose order rounding could have swapped, measured again exactly
CENTRE_ROWS = 1024  # enough to find the bank's middle, which need not be exact
SCREENED_FROM = 2**25  # multiplications; fewer take no time worth saving
CODED_FROM = 128  # queries for which coding a bank that is not prepared pays


@dataclass(frozen=True, eq=False)
class PreparedBank:
    """A bank with what a search needs of it, so that searching it again costs only the search.

    Made by :func:`prepare`. The rows are not copied: whoever changes them has to prepare anew.

    Attributes:
        rows: The bank, ``(b, c)``.
        centre: A point amid the rows, ``(c,)``.
        norms: Squared distance of every row to ``centre``, ``(b,)``.
        codes: The rows about ``centre`` in 8 bits, where that makes searching faster.
    """

    rows: Tensor
    centre: Tensor
    norms: Tensor
    codes: Codes | None = None


@torch.no_grad()
def prepare(bank: Tensor | PreparedBank) -> PreparedBank:
    """Prepare a bank that will be searched more than once.

    Args:
        bank: Bank features, ``(b, c)``; a prepared bank is returned as it is.

    Raises:
        ShapeError: ``bank`` has other axes.
        NonFiniteError: A row is NaN, infinite or so large that its square is.

    Note:
        One pass over the bank in bounded memory; ``b + c`` numbers are kept beside it, and on
        processors that multiply 8-bit integers fast its codes, a quarter of a float32 bank.
    """
    return bank if isinstance(bank, PreparedBank) else _prepare(bank, keep_codes=True)


def _prepare(bank: Tensor, *, keep_codes: bool) -> PreparedBank:
    rows, channels = check_shape("bank", bank, "b c").values()
    dtype = torch.promote_types(bank.dtype, torch.float32)
    centre = bank[:: rows // CENTRE_ROWS + 1].to(dtype).mean(dim=0)
    norms = centre.new_empty(rows)
    codes = Codes.empty(rows, channels) if keep_codes and _can_screen(centre) else None
    for start in range(0, rows, PREPARE_CHUNK):
        piece = slice(start, start + PREPARE_CHUNK)
        part = bank[piece].to(dtype) - centre
        torch.linalg.vector_norm(part, dim=1, out=norms[piece])
        if codes is not None:
            screen.quantise(part, out=codes[piece])
    _check_finite("bank", norms.square_())
    return PreparedBank(bank, centre, norms, codes)


def _can_screen(values: Tensor) -> bool:
    on_cpu = values.device.type == "cpu" and values.dtype == torch.float32
    return on_cpu and bool(torch.backends.mkldnn.enabled) and screen.int8_is_fast()


@torch.no_grad()
def nearest(
    queries: Tensor, bank: Tensor | PreparedBank, k: int = 1, *, queries_are_bank: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Find the k nearest bank rows of every query by Euclidean distance.

    With m a point amid the bank, :math:`\|b - m\|^2 - 2\,(q - m)^\top b` orders the rows as the
    distance does. A few more than asked for are kept, as far as rounding could have swapped them,
    and measured again as :math:`\|q - b\|`. Where it could have hidden a nearer row still (rows
    that are almost twins, as on flat surfaces), all rows that come into question are searched in
    float64. So neither order nor value suffers from cancellation, and a bank row is at distance
    exactly 0 from itself.

    On a CPU that multiplies 8-bit integers fast, these find the rows that can be among the nearest
    at all (:mod:`fsad.functional.screen`), and only they are measured: to the same distances, bit
    by bit. Queries with too many such rows are searched as above.

    Laws:

    * The distances equal those of the brute-force search, whatever the chunk sizes.
    * Distances ascend along ``k``; equal distances are ordered by bank index. Of more equally
      distant rows than asked for, which ones come is fixed but not specified.

    Args:
        queries: Query features, ``(q, c)``.
        bank: Bank features, ``(b, c)``, or what :func:`prepare` made of them.
        k: Neighbours wanted, at most ``b`` (``b - 1`` with ``queries_are_bank``).
        queries_are_bank: The queries are the bank, row for row; no row is its own neighbour.

    Returns:
        Distances ``(q, k)`` in the features' unit, 0 or more, and bank indices ``(q, k)``. They
        carry no gradient. Half precision is computed and returned in float32.

    Raises:
        ShapeError: The channels differ.
        ConfigError: ``k`` is out of range.
        NonFiniteError: A row is NaN, infinite or so large that its square is.
        RunError: Memory does not suffice for one query.

    Note:
        Cost is ``q·b·c`` multiplications in full precision, whatever is allowed elsewhere, or as
        many of 8-bit integers; the transient memory is one block of queries times ``BANK_CHUNK``,
        at most 64 MB on a CPU, whatever the bank's size.
    """
    prepared = bank if isinstance(bank, PreparedBank) else _prepare(bank, keep_codes=False)
    sizes = check_shape("queries", queries, "q c")
    rows = check_shape("bank", prepared.rows, "b c", c=sizes["c"])["b"]
    check_at_least("k", k, 1)
    available = rows - 1 if queries_are_bank else rows
    if k > available:
        raise ConfigError(f"k: expected at most {available} neighbours, got {k}")
    queries = queries.to(prepared.norms.dtype)
    distances = queries.new_empty(sizes["q"], k)
    indices = torch.empty(sizes["q"], k, dtype=torch.long, device=queries.device)
    places = torch.arange(sizes["q"], device=queries.device)

    def search(piece: slice) -> None:
        own = places[piece] if queries_are_bank else None
        distances[piece], indices[piece] = _search(queries[piece], prepared, k, available, own)

    each = queries.element_size() * (BANK_CHUNK + 4 * sizes["c"])  # the block, and a few copies
    with _full_precision(queries.device):
        for _ in in_chunks(sizes["q"], chunk_size(each, queries.device), search, "queries"):
            pass
    return distances, indices


def _check_finite(name: str, norms: Tensor) -> None:
    if not bool(norms.isfinite().all()):
        bad = int((~norms.isfinite()).sum())
        raise NonFiniteError(
            f"{name}: expected finite features, got {bad} of {len(norms)} rows that are not. "
            "Look for broken images, or for a training that diverged."
        )


class _Candidates(NamedTuple):
    """The rows that may be nearest: ``values`` and ``indices`` ``(q, wanted)``, ``bound`` ``(q,)``.

    Values are squared distances less a constant of the query, ascending; no row that is left out
    has a value below ``bound`` and below the last one kept.
    """

    values: Tensor
    indices: Tensor
    bound: Tensor


def _search(
    queries: Tensor, bank: PreparedBank, k: int, available: int, own: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Search one chunk of queries.

    Args:
        queries: ``(q, c)``.
        bank: What is searched.
        k: Neighbours wanted.
        available: Rows that count.
        own: One bank row per query that does not count, ``(q,)``.

    Returns:
        Distances and bank indices, each ``(q, k)``.
    """
    centred = queries - bank.centre
    _check_finite("queries", torch.linalg.vector_norm(centred, dim=1).square())
    if not _can_screen(centred) or not _screening_pays(len(queries), bank):
        return _search_in_full(queries, bank, k, available, own)
    codes = screen.quantise(centred)
    del centred
    screened = screen.screen(codes, _coded_blocks(bank), k, own)
    if screened is None:
        return _search_in_full(queries, bank, k, available, own)
    distances, indices = _measure_screened(queries, bank, k, codes, screened)
    lost = screened.lost.nonzero()[:, 0]
    if len(lost):
        others = None if own is None else own[lost]
        found = _search_in_full(queries[lost], bank, k, available, others)
        distances[lost], indices[lost] = found
    return distances, indices


def _screening_pays(queries: int, bank: PreparedBank) -> bool:
    coded = bank.codes is not None or queries >= CODED_FROM
    return coded and queries * bank.rows.numel() >= SCREENED_FROM


def _coded_blocks(bank: PreparedBank) -> Iterator[Codes]:
    """Yield the bank's codes, block by block; the next block may overwrite it."""
    if bank.codes is not None:
        for start in range(0, len(bank.rows), screen.BLOCK):
            yield bank.codes[start : start + screen.BLOCK]
        return
    room = Codes.empty(screen.BLOCK, bank.rows.shape[1])
    for rows in torch.split(bank.rows, screen.BLOCK):
        for start in range(0, len(rows), PREPARE_CHUNK):
            piece = slice(start, min(start + PREPARE_CHUNK, len(rows)))
            screen.quantise(rows[piece].to(bank.centre.dtype) - bank.centre, out=room[piece])
        yield room[: len(rows)]


def _search_in_full(
    queries: Tensor, bank: PreparedBank, k: int, available: int, own: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Search by products in the queries' precision, as :func:`_search` does."""
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
            distances[rows], indices[rows] = _measure(queries[rows], bank, k, exact)
    return distances, indices


def _search_exactly(
    queries: Tensor, bank: PreparedBank, columns: Tensor, k: int, wanted: int, own: Tensor | None
) -> _Candidates:
    """Search the bank rows ``columns``, ascending, in float64."""
    if own is not None:  # among the columns now, or nowhere
        place = torch.searchsorted(columns, own).clamp(max=len(columns) - 1)
        own = torch.where(columns[place] == own, place, -1)
    centred = queries.double() - bank.centre.double()
    blocks = _blocks(centred, bank, own, columns)
    _, rounding = _norms_and_rounding(centred, bank)
    found = _candidates(blocks, k, min(wanted, len(columns)), rounding)
    return found._replace(indices=columns[found.indices])


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
            distances[:, column] = _distances(queries, bank, indices)
        else:
            rows = (found.values[:, column] <= found.bound).nonzero()[:, 0]
            distances[rows, column] = _distances(queries[rows], bank, indices[rows])
    return _ranked(distances, found.indices, k)


def _measure_screened(
    queries: Tensor, bank: PreparedBank, k: int, codes: Codes, screened: screen.Screened
) -> tuple[Tensor, Tensor]:
    """Measure what screening left, as far as it can be nearer than the first k are."""
    distances = queries.new_full(screened.values.shape, torch.inf)
    for column in range(k):
        distances[:, column] = _distances(queries, bank, screened.indices[:, column])
    reach = screen.reach(distances[:, :k].amax(dim=1), codes)
    near = screened.values <= reach[:, None]
    for column in range(k, near.shape[1]):
        rows = near[:, column].nonzero()[:, 0]
        distances[rows, column] = _distances(queries[rows], bank, screened.indices[rows, column])
    return _ranked(distances, screened.indices, k)


def _ranked(distances: Tensor, indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k least distances ``(q, k)`` and their bank indices, equal ones by index."""
    # By bank index first, so that a stable sort leaves equal distances in that order.
    by_index = indices.sort(dim=1)
    ascending = distances.gather(1, by_index.indices).sort(dim=1, stable=True)
    order = ascending.indices[:, :k]
    return ascending.values[:, :k], by_index.values.gather(1, order)


def _distances(queries: Tensor, bank: PreparedBank, indices: Tensor) -> Tensor:
    """Measure every query's distance to one bank row, ``(q,)``."""
    near = bank.rows.index_select(0, indices).to(queries.dtype)
    distances: Tensor = torch.linalg.vector_norm(near.sub_(queries), dim=1)
    return distances


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Multiply in the inputs' own precision, whatever TF32, bfloat16 or autocast allow elsewhere.

    What bounds the rounding of a product holds for that precision only.
    """
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def similarity(distances: Tensor, scale: float = 1.0) -> Tensor:
    r"""Turn distances into similarities :math:`1 / (1 + d / s)`.

    Args:
        distances: Distances, any shape, 0 or more.
        scale: The distance at which similarity is one half, in the unit of ``distances``.

    Returns:
        Similarities in (0, 1], higher = more alike; 1 at distance 0.

    Source:
        HyperTrans: "reciprocal of the Euclidean distance"; the 1 keeps it finite at distance 0.
    """
    return 1 / (1 + distances / scale)
