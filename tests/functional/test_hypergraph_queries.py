"""Averaging a query over the bank's hypergraph, as if it were one more vertex."""

import pytest
import torch
from torch.testing import assert_close

from fsad.errors import ShapeError
from fsad.functional.distance import similarity
from fsad.functional.hypergraph import SoftHypergraph
from fsad.functional.neighbours import bank_neighbours, query_neighbours

S, T, Q, C, KNN = 21, 13, 7, 5, 6


@pytest.fixture
def bank(normal):
    return normal(S, C), normal(T, C) + 0.5


@pytest.fixture
def hypergraph(bank):
    return SoftHypergraph.from_neighbours(bank_neighbours(*bank, KNN))


@pytest.fixture
def queries(normal):
    return normal(Q, C) + 0.5


@pytest.fixture
def links(queries, bank):
    """Memberships and indices of the queries' neighbours."""
    found = query_neighbours(queries, *bank, KNN)
    return similarity(found.distances), found.indices


@pytest.fixture
def sums(hypergraph, bank):
    return hypergraph.edge_sums(torch.cat(bank))


def smooth_one_densely(query, memberships, neighbours, hypergraph, features):
    """Eq. (8) with the query as vertex v and its own hyperedge as e; the bank's D_v is kept."""
    v = len(features)
    incidence = torch.zeros(v + 1, v + 1, dtype=torch.float64)
    for edge in range(v):
        for vertex, h in zip(hypergraph.members[edge], hypergraph.memberships[edge], strict=True):
            incidence[vertex, edge] += h
    dv = incidence[:v, :v].sum(dim=1)  # before the query comes
    incidence[v, v] = 1  # it owns a hyperedge
    for neighbour, s in zip(neighbours, memberships, strict=True):
        incidence[neighbour, v] += s  # of its neighbours
        incidence[v, neighbour] += s  # and joins theirs
    dv = torch.cat([dv, incidence[v].sum(dim=0, keepdim=True)])
    de = incidence.sum(dim=0)
    row = dv[v].rsqrt() * incidence[v] @ torch.diag(1 / de) @ incidence.T @ torch.diag(dv.rsqrt())
    return row @ torch.cat([features, query[None]])


def test_it_equals_equation_8_of_the_hypergraph_with_one_more_vertex(
    queries, links, hypergraph, bank, sums
):
    smoothed = hypergraph.smooth_queries(queries, *links, sums)
    for row in range(Q):
        dense = smooth_one_densely(
            queries[row], links[0][row], links[1][row], hypergraph, torch.cat(bank)
        )
        assert_close(smoothed[row], dense)


def test_a_query_does_not_depend_on_the_other_queries(queries, links, hypergraph, sums):
    together = hypergraph.smooth_queries(queries, *links, sums)
    for row in range(Q):
        one = slice(row, row + 1)
        alone = hypergraph.smooth_queries(queries[one], *(part[one] for part in links), sums)
        assert_close(alone, together[one], rtol=1e-14, atol=1e-15)


def test_a_query_without_neighbours_is_itself(queries, links, hypergraph, sums):
    none = torch.zeros_like(links[0])
    assert torch.equal(hypergraph.smooth_queries(queries, none, links[1], sums), queries)


def test_a_padded_neighbour_changes_nothing(queries, links, hypergraph, sums):
    padded = [torch.nn.functional.pad(part, (0, 2)) for part in links]
    assert_close(
        hypergraph.smooth_queries(queries, *padded, sums),
        hypergraph.smooth_queries(queries, *links, sums),
    )


def test_the_bank_stays_as_it_is(queries, links, hypergraph, sums):
    before = [part.clone() for part in (sums.vertices, sums.edges, hypergraph.dv, hypergraph.de)]
    hypergraph.smooth_queries(queries, *links, sums)
    after = (sums.vertices, sums.edges, hypergraph.dv, hypergraph.de)
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_the_bank_sums_are_the_scaled_vertices_summed_over_every_hyperedge(hypergraph, bank, sums):
    scaled = torch.cat(bank) / hypergraph.dv.sqrt()[:, None]
    assert_close(sums.vertices, scaled)
    for edge in range(S + T):
        members, memberships = hypergraph.members[edge], hypergraph.memberships[edge]
        assert_close(sums.edges[edge], (memberships[:, None] * scaled[members]).sum(dim=0))


def test_smoothing_queries_is_linear_in_the_features(
    queries, links, hypergraph, bank, sums, normal
):
    matrix = normal(C, 3)  # what lets the learnt matrix act before or after
    mixed = hypergraph.edge_sums(torch.cat(bank) @ matrix)
    assert_close(
        hypergraph.smooth_queries(queries @ matrix, *links, mixed),
        hypergraph.smooth_queries(queries, *links, sums) @ matrix,
    )


def test_neighbours_and_memberships_of_different_shape_are_refused(queries, hypergraph, sums):
    with pytest.raises(ShapeError, match=r"^weights: expected \(7, 6\), got \(7, 5\)$"):
        hypergraph.smooth_queries(
            queries, torch.zeros(Q, 5), torch.zeros(Q, 6, dtype=torch.long), sums
        )
