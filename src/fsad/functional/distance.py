"""Exact nearest neighbours in bounded memory, and the similarity made of distances.

Shapes: ``q`` queries, ``b`` bank rows, ``c`` channels, ``k`` neighbours.
"""

import torch
from torch import Tensor

from fsad.errors import ConfigError, check_at_least, check_shape

QUERY_CHUNK = 1024
BANK_CHUNK = 4096
SPARE = 4  # extra candidates whose order rounding could have swapped, measured again exactly


def nearest(
    queries: Tensor, bank: Tensor, k: int = 1, *, queries_are_bank: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Find the k nearest bank rows of every query by Euclidean distance.

    Candidates come from :math:`\|q\|^2 + \|b\|^2 - 2\,q^\top b` on centred features, a few more
    than asked for; their distances are then measured again as :math:`\|q - b\|`. Where rounding
    could have hidden a nearer row (rows that are almost twins, as on flat surfaces), the query is
    searched again in float64. So neither order nor value suffers from cancellation, and a bank row
    is at distance exactly 0 from itself.

    Laws:

    * The distances equal those of the brute-force search, whatever the chunk sizes.
    * Distances ascend along ``k``; equal distances are ordered by bank index. Of more equally
      distant rows than asked for, which ones come is fixed but not specified.

    Args:
        queries: Query features, ``(q, c)``.
        bank: Bank features, ``(b, c)``.
        k: Neighbours wanted, at most ``b`` (``b - 1`` with ``queries_are_bank``).
        queries_are_bank: The queries are the bank, row for row; no row is its own neighbour.

    Returns:
        Distances ``(q, k)`` in the features' unit, 0 or more, and bank indices ``(q, k)``.

    Raises:
        ShapeError: The channels differ.
        ConfigError: ``k`` is out of range.

    Note:
        Cost is ``q·b·c`` multiplications; the transient memory is one
        ``QUERY_CHUNK x BANK_CHUNK`` block, whatever the bank's size.
    """
    sizes = check_shape("queries", queries, "q c")
    rows = check_shape("bank", bank, "b c", c=sizes["c"])["b"]
    check_at_least("k", k, 1)
    available = rows - 1 if queries_are_bank else rows
    if k > available:
        raise ConfigError(f"k: expected at most {available} neighbours, got {k}")
    wanted = min(k + SPARE, available)
    centre = bank.mean(dim=0)  # distances do not change; the numbers that cancel get smaller
    distances = queries.new_empty(sizes["q"], k)
    indices = torch.empty(sizes["q"], k, dtype=torch.long, device=queries.device)
    places = torch.arange(sizes["q"], device=queries.device)
    for chunk in torch.split(places, QUERY_CHUNK):
        excluded = chunk if queries_are_bank else None
        found, order, limit = _search(queries[chunk], bank, centre, wanted, excluded)
        distances[chunk], indices[chunk] = found[:, :k], order[:, :k]
        unsure = chunk[found[:, k - 1].square() > limit] if wanted < available else chunk[:0]
        if len(unsure):
            excluded = unsure if queries_are_bank else None
            found, order, _ = _search(queries[unsure], bank, centre.double(), wanted, excluded)
            distances[unsure], indices[unsure] = found[:, :k], order[:, :k]
    return distances, indices


def _search(
    queries: Tensor, bank: Tensor, centre: Tensor, wanted: int, excluded: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Search one chunk in the precision of ``centre``.

    Args:
        queries: ``(q, c)``.
        bank: ``(b, c)``.
        centre: Subtracted from both, ``(c,)``.
        wanted: Candidates per query.
        excluded: One bank row per query that does not count, ``(q,)``.

    Returns:
        Distances ``(q, wanted)``, ascending and measured without cancellation; the bank indices;
        and a squared distance ``(q,)`` below which no row outside the candidates can lie.
    """
    centred = queries.to(centre.dtype) - centre
    values = centred.new_empty(len(queries), 0)
    indices = torch.empty(len(queries), 0, dtype=torch.long, device=queries.device)
    largest = centred.new_zeros(())
    for start in range(0, len(bank), BANK_CHUNK):
        part = bank[start : start + BANK_CHUNK].to(centre.dtype) - centre
        norms = part.square().sum(dim=1)
        largest = torch.maximum(largest, norms.max())
        # ‖b‖² - 2 q·b orders a query's candidates like the distance does
        block = torch.addmm(norms, centred, part.T, alpha=-2)
        if excluded is not None:
            _exclude(block, excluded - start)
        best = block.topk(min(wanted, block.shape[1]), dim=1, largest=False)
        values = torch.cat([values, best.values], dim=1)
        indices = torch.cat([indices, best.indices + start], dim=1)
        kept = values.topk(min(wanted, values.shape[1]), dim=1, largest=False)
        values, indices = kept.values, indices.gather(1, kept.indices)
    norms = centred.square().sum(dim=1)
    rounding = queries.shape[1] / 8 * torch.finfo(centre.dtype).eps * (norms + largest)
    limit = values.amax(dim=1) + norms - rounding
    # Candidates by bank index, so that a stable sort leaves ties in that order.
    indices = indices.sort(dim=1).values
    exact = torch.stack(
        [(queries - bank[column]).square().sum(dim=1) for column in indices.unbind(1)], dim=1
    ).sqrt()
    ascending = exact.sort(dim=1, stable=True)
    return ascending.values, indices.gather(1, ascending.indices), limit


def _exclude(block: Tensor, columns: Tensor) -> None:
    """Make one entry per row infinitely far, where its column lies in the block."""
    rows = ((columns >= 0) & (columns < block.shape[1])).nonzero()[:, 0]
    block[rows, columns[rows]] = torch.inf


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
