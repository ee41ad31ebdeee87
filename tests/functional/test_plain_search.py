"""What stands in a graph for the searches, sums and solutions that only PyTorch can do."""

import pytest
import torch
from torch.testing import assert_close

from fsad.functional.distance import nearest
from fsad.functional.gaussian import PositionGaussians
from fsad.functional.hypergraph import SoftHypergraph
from fsad.functional.neighbours import query_neighbours
from fsad.functional.plain_search import search_plainly
from fsad.functional.prepared import prepare


@pytest.fixture
def exporting(monkeypatch):
    """``exporting()``: from here on, take the form that a graph takes."""
    return lambda: monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)


@pytest.mark.parametrize("k", [1, 5])
def test_the_plain_search_finds_what_the_certified_one_does(normal, k):
    queries, bank = normal(50, 24).float() + 3, normal(300, 24).float() + 3
    plain, certified = search_plainly(queries, prepare(bank), k), nearest(queries, bank, k)
    assert_close(plain[0], certified[0], rtol=1e-6, atol=0)
    assert torch.equal(plain[1], certified[1])


def test_small_distances_do_not_suffer_from_cancellation(normal):
    bank = normal(300, 24).float() + 1000
    queries = bank[:50] + 1e-3 * normal(50, 24).float()
    plain, _ = search_plainly(queries, prepare(bank), 1)
    wanted = (queries.double() - bank[:50].double()).norm(dim=1)
    assert_close(plain[:, 0].double(), wanted, rtol=1e-5, atol=0)


def test_a_bank_row_lies_at_distance_0_from_itself(normal):
    bank = normal(300, 24).float() + 1000
    plain, indices = search_plainly(bank, prepare(bank), 1)
    assert torch.equal(plain, torch.zeros(300, 1))
    assert torch.equal(indices[:, 0], torch.arange(300))


def test_a_bank_smaller_than_the_spare_candidates_is_searched_whole(normal):
    queries, bank = normal(5, 3), normal(4, 3)
    distances, _ = search_plainly(queries, prepare(bank), 4)
    assert_close(distances, torch.cdist(queries, bank).sort(dim=1).values)


EQUAL = [3, 7, 9, 12, 15, 20, 22, 30, 33, 38]  # more than are asked for and spare


@pytest.mark.parametrize("moved", [0.0, 0.1], ids=["a bank row", "near one"])
def test_of_many_equal_rows_the_lowest_come_as_from_the_certified_search(normal, moved):
    bank = normal(40, 16).float()
    bank[EQUAL] = bank[3].clone()
    query = bank[3:4] + moved
    for k in (1, 3, 10):
        plain, certified = search_plainly(query, prepare(bank), k), nearest(query, bank, k)
        assert plain[1].tolist() == certified[1].tolist() == [EQUAL[:k]]
        assert_close(plain[0], certified[0])


def test_rows_that_are_equally_far_but_differ_come_by_bank_index():
    bank = torch.tensor([[2.0], [1.0], [-1.0], [1.0], [-1.0], [0.5]])
    for search in (search_plainly, nearest):
        assert search(torch.zeros(1, 1), prepare(bank), 5)[1].tolist() == [[5, 1, 2, 3, 4]]


def test_when_exporting_a_query_is_averaged_to_the_same(normal, exporting):
    source, target, queries = normal(20, 6), normal(15, 6), normal(7, 6)
    graph = SoftHypergraph(torch.arange(35)[:, None], torch.ones(35, 1).double(), 35)
    sums = graph.edge_sums(torch.cat([source, target]))
    found = query_neighbours(queries, source, target, 4)
    memberships = 1 / (1 + found.distances)
    before = graph.smooth_queries(queries, memberships, found.indices, sums)
    exporting()
    again = query_neighbours(queries, source, target, 4)
    assert torch.equal(again.indices, found.indices)
    assert_close(again.distances, found.distances)
    assert_close(graph.smooth_queries(queries, memberships, found.indices, sums), before)


def test_when_exporting_a_mahalanobis_distance_is_the_same(normal, exporting):
    gaussians = PositionGaussians.fit(normal(5, 6, 20), 0.1)
    queries = normal(4, 5, 20)
    before = gaussians.distances(queries)
    exporting()
    assert_close(gaussians.distances(queries), before)
