"""Exact nearest neighbours in bounded memory, and the similarity made of distances.

Shapes: ``q`` queries, ``b`` bank rows, ``c`` channels, ``k`` neighbours.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from fsad.errors import ConfigError, check_at_least, check_shape
from fsad.functional import screen
from fsad.functional.chunks import chunk_size, in_chunks
from fsad.functional.full_search import (
    BANK_CHUNK,
    GROUP,
    SPARE,
    distances_to,
    ranked,
    search_in_full,
)
from fsad.functional.plain_search import search_plainly
from fsad.functional.prepared import (
    PreparedBank,
    can_screen,
    check_finite,
    coded_blocks,
    prepare_anew,
)
from fsad.functional.screen import Codes

SCREENED_FROM = 2**25  # multiplications; fewer take no time worth saving
SCREENED_TO = 12  # neighbours; more lie in too many groups of the first block to screen for
CODED_FROM = 128  # queries for which coding a bank that is not prepared pays


@torch.no_grad()
def nearest(
    queries: Tensor, bank: Tensor | PreparedBank, k: int = 1, *, queries_are_bank: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Find the k nearest bank rows of every query by Euclidean distance.

    With m a point amid the bank, :math:`\|b - m\|^2 - 2\,(q - m)^\top b` orders the rows as the
    distance does. A few more than asked for are kept, as far as rounding could have swapped them,
    and measured again as :math:`\|q - b\|`. Where it could have hidden a nearer row still (rows
    that are almost twins, as on flat surfaces), all rows that come into question are searched in
    float64, and measured where that is too coarse. So neither order nor value suffers from
    cancellation, and a bank row is at distance exactly 0 from itself.

    On a CPU that multiplies 8-bit integers fast, these find the rows that can be among the nearest
    at all (:mod:`fsad.functional.screen`), and only they are measured: to distances that are equal
    within the rounding of one float32 measurement. Queries with too many such rows are searched as
    above. In a graph that is being exported, all of this is
    :func:`~fsad.functional.plain_search.search_plainly` instead.

    Laws:

    * The distances equal those of the brute-force search within the rounding of one measurement,
      whatever the chunk sizes. In float32 those below about 1e-19 are not resolved: their squares
      vanish.
    * Distances ascend along ``k``; equal distances are ordered by bank index.
    * Of more equal rows than asked for, those with the lowest indices come. Of more rows that
      differ and are equally distant, which ones come is fixed but not specified.

    Args:
        queries: Query features, ``(q, c)``.
        bank: Bank features, ``(b, c)``, prepared or not.
        k: Neighbours wanted, at most ``b`` (``b - 1`` with ``queries_are_bank``).
        queries_are_bank: The queries are the bank, row for row; no row is its own neighbour.

    Returns:
        Distances ``(q, k)`` in the features' unit, 0 or more, and bank indices ``(q, k)``. They
        carry no gradient. Half precision is computed and returned in float32.

    Raises:
        ShapeError: The channels differ, or the bank has no rows or no channels.
        ConfigError: ``k`` is out of range.
        NonFiniteError: A row is NaN, infinite or longer than 1e18.
        RunError: Memory does not suffice for one query.

    Note:
        Cost is ``q·b·c`` multiplications in full precision, whatever is allowed elsewhere, or as
        many of 8-bit integers; the transient memory is one block of queries times ``BANK_CHUNK``,
        at most 64 MB on a CPU, whatever the bank's size.

    Examples:
        >>> import torch
        >>> import fsad
        >>> bank = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        >>> distances, rows = fsad.nearest(torch.tensor([[3.0, 0.0]]), bank, k=2)
        >>> distances.tolist(), rows.tolist()
        ([[3.0, 4.0]], [[0, 1]])
    """
    prepared = bank if isinstance(bank, PreparedBank) else prepare_anew(bank, keep_codes=False)
    sizes = check_shape("queries", queries, "q c")
    rows = check_shape("bank", prepared.rows, "b c", c=sizes["c"])["b"]
    check_at_least("k", k, 1)
    available = rows - 1 if queries_are_bank else rows
    if k > available:
        raise ConfigError(f"k: expected at most {available} neighbours, got {k}")
    queries = queries.to(prepared.norms.dtype)
    if torch.compiler.is_exporting() and not queries_are_bank:
        return search_plainly(queries, prepared, k)
    distances = queries.new_empty(sizes["q"], k)
    indices = torch.empty(sizes["q"], k, dtype=torch.long, device=queries.device)
    places = torch.arange(sizes["q"], device=queries.device)

    def search(piece: slice) -> None:
        own = places[piece] if queries_are_bank else None
        near, there = _search(queries[piece], prepared, k, available, own)
        if prepared.equal is not None:
            near, there = ranked(near, prepared.equal.lowest(there, own), k)
        distances[piece], indices[piece] = near, there

    size = chunk_size(_bytes_each(queries, k), queries.device)
    with _full_precision(queries.device):
        for _ in in_chunks(sizes["q"], size, search, "queries"):
            pass
    return distances, indices


def _bytes_each(queries: Tensor, k: int) -> int:
    """Return the temporary memory that one query takes, at most, nearly."""
    wanted = k + SPARE
    block = BANK_CHUNK + min(wanted * GROUP, BANK_CHUNK)  # and the entries of the nearest groups
    in_full = queries.element_size() * block + 100 * wanted  # candidates, old and new, by index
    screened = 8 * screen.BLOCK + 100 * max(k, screen.KEPT)
    return max(in_full, screened) + 7 * queries.element_size() * queries.shape[1]  # copies


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
    check_finite("queries", torch.linalg.vector_norm(centred, dim=1).square())
    if not can_screen(centred) or not _screening_pays(len(queries), bank, k):
        return search_in_full(queries, bank, k, available, own)
    codes = screen.quantise(centred)
    del centred
    screened = screen.screen(codes, coded_blocks(bank), k, own)
    if screened is None:
        return search_in_full(queries, bank, k, available, own)
    distances, indices = _measure_screened(queries, bank, k, codes, screened)
    lost = screened.lost.nonzero()[:, 0]
    if len(lost):
        others = None if own is None else own[lost]
        found = search_in_full(queries[lost], bank, k, available, others)
        distances[lost], indices[lost] = found
    return distances, indices


def _screening_pays(queries: int, bank: PreparedBank, k: int) -> bool:
    coded = bank.codes is not None or queries >= CODED_FROM
    return k <= SCREENED_TO and coded and queries * bank.rows.numel() >= SCREENED_FROM


def _measure_screened(
    queries: Tensor, bank: PreparedBank, k: int, codes: Codes, screened: screen.Screened
) -> tuple[Tensor, Tensor]:
    """Measure what screening left, as far as it can be nearer than the first k are."""
    distances = queries.new_full(screened.values.shape, torch.inf)
    for column in range(k):
        distances[:, column] = distances_to(queries, bank, screened.indices[:, column])
    reach = screen.reach(distances[:, :k].amax(dim=1), codes)
    near = screened.values <= reach[:, None]
    for column in range(k, near.shape[1]):
        rows = near[:, column].nonzero()[:, 0]
        distances[rows, column] = distances_to(queries[rows], bank, screened.indices[rows, column])
    return ranked(distances, screened.indices, k)


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
