"""Who belongs to whom: neighbours of both domains, hyperedges made of them, pseudo features."""

import pytest
import torch
from torch.testing import assert_close

from fsad.errors import ConfigError
from fsad.functional.distance import similarity
from fsad.functional.hypergraph import SoftHypergraph, pseudo_features
from fsad.functional.neighbours import (
    Neighbours,
    bank_neighbours,
    median_distance,
    query_neighbours,
)

S, T, C, KNN = 31, 19, 6, 10
HALF = KNN // 2


@pytest.fixture(params=[0.0, 1e3], ids=["together", "far-apart"])
def banks(request, normal):
    """A source and a target bank, mixed or with a shift far beyond their spread."""
    return normal(S, C), normal(T, C) + request.param


def brute_order(query, bank):
    """All rows of ``bank`` by distance, with the distances."""
    distances = (bank - query).norm(dim=1)
    order = distances.argsort(stable=True)
    return order, distances[order]


def test_half_of_every_vertexs_neighbours_are_the_nearest_of_each_domain(banks):
    source, target = banks
    found = bank_neighbours(source, target, KNN)
    assert found.indices.shape == (S + T, KNN)
    for vertex in range(S + T):
        own, other, place = (source, target, vertex) if vertex < S else (target, source, vertex - S)
        own_first, other_first = (0, S) if vertex < S else (S, 0)
        order, distances = brute_order(own[place], own)
        others = order != place  # not itself
        same, same_distances = order[others][:HALF], distances[others][:HALF]
        cross, cross_distances = (part[:HALF] for part in brute_order(own[place], other))
        assert torch.equal(
            found.indices[vertex], torch.cat([same + own_first, cross + other_first])
        )
        assert_close(found.distances[vertex], torch.cat([same_distances, cross_distances]))


def test_a_querys_neighbours_are_the_nearest_target_then_the_nearest_source_rows(banks, normal):
    source, target = banks
    queries = target[:3] + 0.1 * normal(3, C)
    found = query_neighbours(queries, source, target, KNN)
    for row, query in enumerate(queries):
        same, same_distances = (part[:HALF] for part in brute_order(query, target))
        cross, cross_distances = (part[:HALF] for part in brute_order(query, source))
        assert torch.equal(found.indices[row], torch.cat([same + S, cross]))
        assert_close(found.distances[row], torch.cat([same_distances, cross_distances]))


@pytest.mark.parametrize(("few", "many"), [(1, 31), (3, 31), (2, 2)])
def test_a_domain_with_too_few_rows_gives_what_it_has_and_padding_belongs_to_nothing(
    normal, few, many
):
    source, target = normal(many, C), normal(few, C)
    found = bank_neighbours(source, target, KNN)
    real = found.distances.isfinite()
    assert torch.equal(real[:many].sum(dim=1), torch.full((many,), min(HALF, many - 1) + few))
    assert torch.equal(real[many:].sum(dim=1), torch.full((few,), few - 1 + min(HALF, many)))
    hypergraph = SoftHypergraph.from_neighbours(found)
    assert torch.equal(hypergraph.memberships[:, 1:][~real].unique(), found.distances.new_zeros(1))


def test_every_hyperedge_holds_its_own_centre_with_membership_1(banks):
    hypergraph = SoftHypergraph.from_neighbours(bank_neighbours(*banks, KNN))
    assert torch.equal(hypergraph.members[:, 0], torch.arange(S + T))
    assert torch.equal(hypergraph.memberships[:, 0], torch.ones(S + T, dtype=torch.float64))


def test_memberships_are_the_similarities_of_the_neighbours(banks):
    found = bank_neighbours(*banks, KNN)
    hypergraph = SoftHypergraph.from_neighbours(found, scale=0.7)
    assert torch.equal(hypergraph.members[:, 1:], found.indices)
    assert_close(hypergraph.memberships[:, 1:], 1 / (1 + found.distances / 0.7))


def test_two_identical_patches_keep_two_hyperedges(normal):
    source, target = normal(12, C), normal(8, C)
    source[7] = source[2]
    hypergraph = SoftHypergraph.from_neighbours(bank_neighbours(source, target, 4))
    assert len(hypergraph.members) == len(hypergraph.de) == 20
    assert 7 in hypergraph.members[2]
    assert 2 in hypergraph.members[7]
    smoothed = hypergraph.smoothing_with_HGNN(torch.cat([source, target]))
    assert (smoothed.abs().sum(dim=1) > 0).all()  # no vertex was left without a hyperedge


def test_patches_all_alike_keep_one_hyperedge_each_and_stay_as_they_are():
    features = torch.ones(40, C, dtype=torch.float64)
    hypergraph = SoftHypergraph.from_neighbours(bank_neighbours(features[:25], features[25:], 6))
    assert len(hypergraph.de) == 40
    root = hypergraph.dv.sqrt()[:, None]
    assert_close(hypergraph.smoothing_with_HGNN(root * features), root * features)


def test_the_median_distance_makes_the_incidence_independent_of_the_features_unit(banks):
    here = bank_neighbours(*banks, KNN)
    there = bank_neighbours(*(1000 * bank for bank in banks), KNN)
    assert median_distance(there) == pytest.approx(1000 * median_distance(here))
    assert_close(
        SoftHypergraph.from_neighbours(there, median_distance(there)).memberships,
        SoftHypergraph.from_neighbours(here, median_distance(here)).memberships,
    )


def test_the_median_distance_ignores_padding_and_is_1_without_any_neighbour():
    indices = torch.zeros(1, 5, dtype=torch.long)
    padded = torch.tensor([[3.0, torch.inf, 2.0, 7.0, torch.inf]])
    assert median_distance(Neighbours(indices, padded)) == 3.0
    assert median_distance(Neighbours(indices, torch.full((1, 5), torch.inf))) == 1.0


def test_the_median_distance_of_patches_all_alike_is_a_scale_that_works():
    features = torch.ones(12, C, dtype=torch.float64)
    found = bank_neighbours(features[:7], features[7:], 4)
    memberships = similarity(found.distances, median_distance(found))
    assert torch.equal(memberships, torch.ones_like(memberships))


def test_pseudo_features_are_exactly_the_nearest_of_the_other_domain(banks):
    source, target = banks
    expected = [target[brute_order(row, target)[0][0]] for row in source]
    expected += [source[brute_order(row, source)[0][0]] for row in target]
    assert torch.equal(pseudo_features(source, target), torch.stack(expected))


def test_pseudo_features_come_from_the_other_domain_only(normal):
    source, target = normal(S, C), normal(T, C)
    source[:, 0], target[:, 0] = 1, 2  # the domain's mark: alike in its rows, it decides no order
    pseudo = pseudo_features(source, target)
    assert (pseudo[:S, 0] == 2).all()
    assert (pseudo[S:, 0] == 1).all()


def test_pseudo_features_carry_no_gradient(normal):
    source, target = normal(S, C).requires_grad_(), normal(T, C).requires_grad_()
    assert not pseudo_features(source, target).requires_grad


@pytest.mark.parametrize("knn", [3, 5, 11])
def test_an_odd_number_of_neighbours_is_refused(knn):
    bank = torch.zeros(8, C)
    message = rf"^knn: expected an even number, half per domain, got {knn}$"
    with pytest.raises(ConfigError, match=message):
        bank_neighbours(bank, bank, knn)
    with pytest.raises(ConfigError, match=message):
        query_neighbours(bank, bank, bank, knn)


def test_fewer_than_two_neighbours_are_refused():
    bank = torch.zeros(8, C)
    with pytest.raises(ConfigError, match=r"^knn: expected a whole number of at least 2, got 0$"):
        bank_neighbours(bank, bank, 0)
