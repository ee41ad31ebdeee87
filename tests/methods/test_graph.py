"""Both banks as one graph: what it shares between searches, and the loss over it."""

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.testing import assert_close

from fsad.functional.hypergraph import pseudo_features
from fsad.functional.neighbours import Neighbours
from fsad.methods.hypertrans.graph import BankGraph
from fsad.nn.res_hgnn import ResHGNN

S, T, C = 31, 19, 6


@pytest.fixture
def banks(normal):
    return normal(S, C), normal(T, C) + 1


@pytest.mark.parametrize("knn", [2, 10, 60])  # 60: more than either bank has
def test_the_first_cross_domain_neighbour_gives_the_pseudo_features(banks, knn):
    assert torch.equal(BankGraph(*banks, knn, "one").pseudo, pseudo_features(*banks))


def test_the_loss_is_the_sum_of_both_mean_squared_errors_and_so_is_its_gradient(banks, normal):
    graph, rectified = BankGraph(*banks, 4, "median"), normal(S + T, C).requires_grad_()
    expected = mse_loss(rectified, graph.pseudo) + mse_loss(rectified, graph.features)
    loss = graph.loss(rectified)
    assert_close(loss, expected)
    assert_close(*(torch.autograd.grad(each, rectified)[0] for each in (loss, expected)))


def test_the_banks_are_parts_of_the_features_not_copies(banks):
    graph = BankGraph(*banks, 4, "one")
    assert torch.equal(graph.features, torch.cat(banks))
    for part, bank in zip((graph.source, graph.target), banks, strict=True):
        assert torch.equal(part, bank)
        assert part.untyped_storage().data_ptr() == graph.features.untyped_storage().data_ptr()


def held_out_and_hub(normal):
    """Return a source bank whose row 0 lies amid a crowd of target rows, and 40 more of these."""
    source, crowd = normal(60, C), normal(1, C) + 0.3 * normal(440, C)
    source[0] = crowd.mean(dim=0)
    return source, crowd[:400], crowd[400:]


def trained(graph):
    rectifier = ResHGNN(C, 4 * C, alpha=0.3, seed=0).double()
    optimizer = torch.optim.Adam(rectifier.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        graph.loss(graph.rectified(rectifier)).backward()
        optimizer.step()
    return rectifier.eval()


@torch.no_grad()
def test_a_bank_row_is_rectified_as_a_query_that_does_not_find_itself(banks):
    graph, rectifier = BankGraph(*banks, 4, "median"), ResHGNN(C, 4 * C, seed=0).double().eval()
    states = graph.states(rectifier)
    distances = torch.cdist(graph.features, graph.features).fill_diagonal_(torch.inf)
    domains = torch.tensor([0] * S + [1] * T)
    rows = []
    for row, near in enumerate(distances):
        both = []
        for domain in (domains[row], 1 - domains[row]):  # its own first
            found = near.where(domains == domain, torch.inf).topk(2, largest=False)
            both.append(found)
        neighbours = Neighbours(
            torch.cat([found.indices for found in both])[None],
            torch.cat([found.values for found in both])[None],
        )
        query = graph.features[row : row + 1]
        rows.append(
            rectifier.rectify_queries(query, neighbours, graph.scale, graph.hypergraph, states)
        )
    assert_close(torch.cat(graph.banks_as_queries(rectifier, states)), torch.cat(rows))


def test_a_row_amid_many_of_the_other_domain_stays_near_them(normal):
    source, target, held_out = held_out_and_hub(normal)
    graph = BankGraph(source, target, 10, "one")
    rectifier = trained(graph)
    with torch.no_grad():
        states = graph.states(rectifier)
        queries = graph.rectify(rectifier, states, held_out)
        before = (held_out - source[0]).norm(dim=1).mean()
        as_query = (queries - graph.banks_as_queries(rectifier, states)[0][0]).norm(dim=1).mean()
        as_member = (queries - graph.rectified(rectifier)[0]).norm(dim=1).mean()
    assert float(as_query) < float(before)
    assert float(as_member) > 1.2 * float(before)  # what the paper's eq. (8) alone would do
