"""Who is near whom over both domains: neighbours of bank vertices and of queries.

Shapes: ``s`` source rows, ``t`` target rows, ``c`` channels, ``q`` queries, ``k`` neighbours.
Indices count both banks as one, the source first.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fsad.errors import check_even
from fsad.functional.distance import nearest
from fsad.functional.prepared import PreparedBank, prepare


class Neighbours(NamedTuple):
    """Neighbours of vertices or queries: bank indices and distances, each ``(v, k)``."""

    indices: Tensor
    distances: Tensor


def bank_neighbours(
    source: Tensor | PreparedBank, target: Tensor | PreparedBank, knn: int
) -> Neighbours:
    """Find every vertex's neighbours: half in its own domain, half in the other.

    A plain kNN over both domains has no cross-domain members once the domains lie apart, so they
    are chosen apart. A domain with fewer rows than asked for gives what it has.

    Args:
        source: Source bank, ``(s, c)``, prepared or not.
        target: Target bank, ``(t, c)``, prepared or not.
        knn: Neighbours per vertex, even: ``knn / 2`` of each domain.

    Returns:
        Neighbours of the ``s`` source, then the ``t`` target vertices; indices count the source
        bank first. Padding (domains too small) has distance infinity, thus membership 0.

    Raises:
        ConfigError: ``knn`` is odd or below 2.
    """
    half = check_even("knn", knn) // 2
    source, target = prepare(source), prepare(target)
    parts = []
    for own, other, own_first, other_first in (
        (source, target, 0, len(source.rows)),
        (target, source, len(source.rows), 0),
    ):
        same = _padded(own.rows, own, half, own_first, queries_are_bank=True)
        cross = _padded(own.rows, other, half, other_first)
        parts.append(_side_by_side(same, cross))
    return Neighbours(*(torch.cat(both) for both in zip(*parts, strict=True)))


def query_neighbours(
    queries: Tensor, source: Tensor | PreparedBank, target: Tensor | PreparedBank, knn: int
) -> Neighbours:
    """Find target-domain queries' neighbours in both banks, as :func:`bank_neighbours` does.

    Args:
        queries: Query features, ``(q, c)``.
        source: Source bank, ``(s, c)``, prepared or not.
        target: Target bank, ``(t, c)``, prepared or not.
        knn: Neighbours per query, even.

    Returns:
        Neighbours, ``(q, knn)``: first those of the target bank.
    """
    half = check_even("knn", knn) // 2
    source, target = prepare(source), prepare(target)
    same = _padded(queries, target, half, len(source.rows))
    cross = _padded(queries, source, half, 0)
    return _side_by_side(same, cross)


def _padded(
    queries: Tensor, bank: PreparedBank, k: int, first: int, *, queries_are_bank: bool = False
) -> Neighbours:
    rows = len(bank.rows)
    available = min(k, rows - 1 if queries_are_bank else rows)
    if available == k:
        near, there = nearest(queries, bank, k, queries_are_bank=queries_are_bank)
        return Neighbours(there + first, near)
    indices = torch.zeros(queries.shape[0], k, dtype=torch.long, device=queries.device)
    distances = bank.norms.new_full((queries.shape[0], k), torch.inf)
    if available > 0:
        found = nearest(queries, bank, available, queries_are_bank=queries_are_bank)
        distances[:, :available], indices[:, :available] = found[0], found[1] + first
    return Neighbours(indices, distances)


def _side_by_side(left: Neighbours, right: Neighbours) -> Neighbours:
    return Neighbours(*(torch.cat(pair, dim=1) for pair in zip(left, right, strict=True)))


def median_distance(neighbours: Neighbours) -> float:
    """Return the median neighbour distance, a scale that makes H independent of the features'.

    Only distances above zero count: patches of a flat surface are all alike, and a scale of zero
    would be no scale. Without any it is 1.
    """
    distances = neighbours.distances
    known = distances[distances.isfinite() & (distances > 0)]
    return float(known.median()) if len(known) else 1.0
