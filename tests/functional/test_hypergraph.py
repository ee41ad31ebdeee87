"""The structure and the averaging of eq. (8); queries are in ``test_hypergraph_queries.py``."""

import dhg
import pytest
import torch
from torch.testing import assert_close

from fsad.errors import ConfigError, ShapeError
from fsad.functional.hypergraph import CHANNEL_BLOCK, SoftHypergraph

V, E, M, C = 23, 17, 5, 6
ISOLATED, EMPTY = 4, 9  # a vertex in no hyperedge, a hyperedge without members


@pytest.fixture
def tables(uniform, generator):
    """Member lists with distinct members each, some padded, one vertex and one hyperedge bare."""
    draws = [torch.randperm(V, generator=generator)[:M] for _ in range(E)]
    members = torch.stack(draws)
    memberships = uniform(E, M).clamp(min=0.05)
    memberships[::3, -1] = 0  # padding
    memberships[members == ISOLATED] = 0
    memberships[EMPTY] = 0
    return members, memberships


@pytest.fixture
def features(normal):
    return normal(V, C)


def dense_incidence(members, memberships, vertices=V):
    """H, ``(v, e)``, written entry by entry."""
    incidence = memberships.new_zeros(vertices, len(members))
    for edge, row in enumerate(members.tolist()):
        for vertex, membership in zip(row, memberships[edge], strict=True):
            incidence[vertex, edge] += membership
    return incidence


def dense_operator(incidence):
    """G of eq. (8) as matrix products, zero where a degree is zero."""
    dv, de = incidence.sum(dim=1), incidence.sum(dim=0)
    left = torch.diag(torch.where(dv > 0, dv, torch.inf).rsqrt())
    middle = torch.diag(torch.where(de > 0, de, torch.inf).reciprocal())
    return left @ incidence @ middle @ incidence.T @ left


def operator(hypergraph, vertices=V):
    return hypergraph.smoothing_with_HGNN(torch.eye(vertices, dtype=torch.float64))


def test_it_equals_the_written_out_equation_8(tables, features):
    smoothed = SoftHypergraph(*tables, V).smoothing_with_HGNN(features)
    assert_close(smoothed, dense_operator(dense_incidence(*tables)) @ features)


@pytest.mark.filterwarnings("ignore:Sparse")  # dhg builds its matrices in torch's beta formats
def test_it_agrees_with_dhg_on_binary_incidence(generator, features):
    sizes = torch.randint(1, M + 1, (E,), generator=generator)
    edges = [torch.randperm(V, generator=generator)[:size].tolist() for size in sizes]
    edges = list({tuple(sorted(edge)) for edge in edges})  # dhg merges equal hyperedges
    theirs = dhg.Hypergraph(V, edges)
    members = torch.tensor([list(edge) + [0] * (M - len(edge)) for edge in edges])
    memberships = torch.tensor([[1.0] * len(edge) + [0.0] * (M - len(edge)) for edge in edges])
    ours = SoftHypergraph(members, memberships, V)
    features = features.float()  # all that dhg can do
    assert_close(ours.smoothing_with_HGNN(features), theirs.smoothing_with_HGNN(features))


def test_the_degrees_are_the_row_and_column_sums_of_the_incidence(tables):
    hypergraph, incidence = SoftHypergraph(*tables, V), dense_incidence(*tables)
    assert_close(hypergraph.dv, incidence.sum(dim=1))
    assert_close(hypergraph.de, incidence.sum(dim=0))


def test_the_operator_is_symmetric_with_spectral_radius_one_at_root_dv(tables):
    hypergraph = SoftHypergraph(*tables, V)
    matrix = operator(hypergraph)
    assert_close(matrix, matrix.T)
    eigenvalues = torch.linalg.eigvalsh(matrix)
    assert eigenvalues[0] > -1e-12
    assert eigenvalues[-1] == pytest.approx(1.0)
    fixed = hypergraph.dv.sqrt()[:, None]
    assert_close(hypergraph.smoothing_with_HGNN(fixed), fixed)


def test_renaming_vertices_permutes_the_output(tables, features, generator):
    members, memberships = tables
    new_name = torch.randperm(V, generator=generator)
    renamed = SoftHypergraph(new_name[members], memberships, V)
    moved = torch.empty_like(features).index_copy_(0, new_name, features)
    expected = SoftHypergraph(*tables, V).smoothing_with_HGNN(features)
    assert_close(renamed.smoothing_with_HGNN(moved)[new_name], expected)


def test_the_order_of_hyperedges_and_of_members_changes_nothing(tables, features, generator):
    edges, places = torch.randperm(E, generator=generator), torch.randperm(M, generator=generator)
    members, memberships = (table[edges][:, places] for table in tables)
    shuffled = SoftHypergraph(members, memberships, V).smoothing_with_HGNN(features)
    assert_close(shuffled, SoftHypergraph(*tables, V).smoothing_with_HGNN(features))


@pytest.mark.parametrize("factor", [0.5, 1e-3])
def test_scaling_the_incidence_changes_nothing(tables, features, factor):
    members, memberships = tables
    scaled = SoftHypergraph(members, factor * memberships, V).smoothing_with_HGNN(features)
    assert_close(scaled, SoftHypergraph(*tables, V).smoothing_with_HGNN(features))


def test_padding_changes_nothing(tables, features):
    members, memberships = tables
    wider = torch.nn.functional.pad(members, (0, 3)), torch.nn.functional.pad(memberships, (0, 3))
    padded = SoftHypergraph(*wider, V).smoothing_with_HGNN(features)
    assert_close(padded, SoftHypergraph(*tables, V).smoothing_with_HGNN(features))


def test_a_vertex_in_no_hyperedge_becomes_zero(tables, features):
    smoothed = SoftHypergraph(*tables, V).smoothing_with_HGNN(features)
    assert torch.equal(smoothed[ISOLATED], torch.zeros(C, dtype=torch.float64))


def test_an_empty_hyperedge_contributes_zero(tables, features):
    keep = torch.arange(E) != EMPTY
    without = SoftHypergraph(*(table[keep] for table in tables), V)
    expected = without.smoothing_with_HGNN(features)
    assert_close(SoftHypergraph(*tables, V).smoothing_with_HGNN(features), expected)


def test_no_hyperedges_at_all_give_zeros(features):
    none = SoftHypergraph(torch.empty(0, M, dtype=torch.long), features.new_empty(0, M), V)
    assert torch.equal(none.smoothing_with_HGNN(features), torch.zeros_like(features))


def test_gradients_are_finite_despite_bare_vertices_and_hyperedges(tables, features):
    members, memberships = tables
    features.requires_grad_()
    memberships.requires_grad_()
    SoftHypergraph(members, memberships, V).smoothing_with_HGNN(features).square().sum().backward()
    for leaf in (features, memberships):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.any()


def test_the_gradient_of_the_features_is_the_operator_itself(tables, features, normal):
    features.requires_grad_()
    hypergraph, weights = SoftHypergraph(*tables, V), normal(V, C)
    (hypergraph.smoothing_with_HGNN(features) * weights).sum().backward()
    assert_close(features.grad, dense_operator(dense_incidence(*tables)) @ weights)  # symmetric


def test_first_and_second_derivatives_are_those_of_numerical_differences(tables, normal):
    hypergraph = SoftHypergraph(*tables, V)
    features = normal(V, 2).requires_grad_()

    def squared(features):  # G alone has no second derivative
        return hypergraph.smoothing_with_HGNN(features).square()

    assert torch.autograd.gradcheck(squared, features)
    assert torch.autograd.gradgradcheck(squared, features)


def test_memberships_that_are_learnt_change_neither_the_output_nor_the_features_gradient(
    tables, features, normal
):
    members, memberships = tables
    features.requires_grad_()
    weights, found = normal(V, C), []
    for learnt in (False, True):
        hypergraph = SoftHypergraph(members, memberships.clone().requires_grad_(learnt), V)
        smoothed = hypergraph.smoothing_with_HGNN(features)
        found.append(
            (smoothed.detach(), *torch.autograd.grad((smoothed * weights).sum(), features))
        )
    assert_close(*found)


@pytest.mark.parametrize("channels", [1, CHANNEL_BLOCK, CHANNEL_BLOCK + 1, 3 * CHANNEL_BLOCK])
def test_every_channel_is_smoothed_on_its_own(tables, normal, channels):
    hypergraph, wide = SoftHypergraph(*tables, V), normal(channels, V).T  # not contiguous
    expected = dense_operator(dense_incidence(*tables)) @ wide
    assert_close(hypergraph.smoothing_with_HGNN(wide), expected)


def test_no_temporary_is_larger_than_the_features_or_the_tables(tables, normal, largest_result):
    features = normal(V, 400)
    with largest_result:
        SoftHypergraph(*tables, V).smoothing_with_HGNN(features)
    assert largest_result.numel <= features.numel()  # an (e, m, c) block would be 3.7 times that


def test_tables_that_do_not_fit_are_refused():
    members = torch.zeros(4, 2, dtype=torch.long)
    with pytest.raises(
        ShapeError, match=r"^memberships: expected \(e, m\) with e=4, m=2, got \(4, 3\)$"
    ):
        SoftHypergraph(members, torch.zeros(4, 3), 5)
    with pytest.raises(ConfigError, match=r"^members: expected vertices from 0 to 4, got 0 to 7$"):
        SoftHypergraph(torch.tensor([[0, 7]]), torch.ones(1, 2), 5)
    with pytest.raises(ConfigError, match=r"^members: expected vertices from 0 to 4, got -1 to 2$"):
        SoftHypergraph(torch.tensor([[-1, 2]]), torch.ones(1, 2), 5)
    for wrong in (1.5, -0.1, torch.nan):
        with pytest.raises(
            ConfigError, match=r"^memberships: expected values in \[0, 1\], got values outside$"
        ):
            SoftHypergraph(members, torch.full((4, 2), wrong), 5)


def test_features_of_another_number_of_vertices_and_a_drop_rate_are_refused():
    hypergraph = SoftHypergraph(torch.tensor([[0, 1]]), torch.ones(1, 2), 5)
    with pytest.raises(ShapeError, match=r"^features: expected \(v, c\) with v=5, got \(4, 2\)$"):
        hypergraph.smoothing_with_HGNN(torch.zeros(4, 2))
    with pytest.raises(ConfigError, match=r"^drop_rate: expected 0, got 0\.5$"):
        hypergraph.smoothing_with_HGNN(torch.zeros(5, 2), drop_rate=0.5)
