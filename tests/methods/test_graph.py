"""Both banks as one graph: what it shares between searches, and the loss over it."""

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.testing import assert_close

from fsad.functional.hypergraph import pseudo_features
from fsad.methods.hypertrans.graph import BankGraph

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
