"""Principal subspaces against scikit-learn, Pythagoras and rotations."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.testing import assert_close

from fsad.errors import ConfigError, NonFiniteError
from fsad.functional.subspace import principal_axes, residuals


@pytest.fixture
def rows(normal):
    """60 points of 12 channels whose variances fall."""
    return normal(60, 12) * torch.logspace(0, -2, 12, dtype=torch.float64) + normal(12)


def covariance(rows):
    return torch.cov(rows.T, correction=0)


def subspace(rows, variance):
    return rows.mean(dim=0), principal_axes(covariance(rows), variance)


@pytest.mark.parametrize("variance", [0.3, 0.9, 0.99, 0.9999])
def test_axes_are_those_of_scikit_learn_up_to_their_sign(rows, variance):
    known = PCA(n_components=variance, svd_solver="full").fit(rows.numpy())
    mean, axes = subspace(rows, variance)
    assert_close(mean.numpy(), known.mean_)
    assert len(axes) == known.n_components_
    assert_close(np.abs(axes.numpy() @ known.components_.T), np.eye(len(axes)), atol=1e-9, rtol=0)


@pytest.mark.parametrize("variance", [0.3, 0.99])
def test_the_residual_is_what_scikit_learn_cannot_reconstruct(rows, normal, variance):
    queries = normal(30, 12)
    known = PCA(n_components=variance, svd_solver="full").fit(rows.numpy())
    rebuilt = torch.from_numpy(known.inverse_transform(known.transform(queries.numpy())))
    assert_close(residuals(queries, *subspace(rows, variance)), (queries - rebuilt).square().sum(1))


def test_residual_and_projection_add_up(rows, normal):
    queries = normal(30, 12)
    mean, axes = subspace(rows, 0.9)
    projected = ((queries - mean) @ axes.T).square().sum(dim=1)
    whole = (queries - mean).square().sum(dim=1)
    assert_close((residuals(queries, mean, axes) + projected) / whole, torch.ones(30).double())


def test_a_point_of_the_subspace_scores_nothing(rows, normal):
    mean, axes = subspace(rows, 0.9)
    inside = mean + normal(20, len(axes)) @ axes
    assert_close(residuals(inside, mean, axes), torch.zeros(20).double(), atol=1e-24, rtol=0)


def test_rotating_feature_space_changes_no_score(rows, normal):
    rotation = torch.linalg.qr(normal(12, 12)).Q
    queries = normal(30, 12)
    before = residuals(queries, *subspace(rows, 0.9))
    assert_close(residuals(queries @ rotation, *subspace(rows @ rotation, 0.9)), before)


def test_the_share_of_the_variance_is_reached_and_not_exceeded_by_a_whole_axis(rows):
    spread = covariance(rows)
    _, axes = subspace(rows, 0.9)
    held = (axes @ spread @ axes.T).diagonal().cumsum(0) / spread.trace()
    assert float(held[-1]) >= 0.9 > float(held[-2])


def test_axes_have_one_sign(rows):
    _, axes = subspace(rows, 0.99)
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    assert bool((largest > 0).all())
    assert_close(principal_axes(covariance(-rows), 0.99), axes)


def test_points_on_a_line_have_one_axis():
    line = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None] * torch.tensor([[3.0, 4.0]])
    assert_close(principal_axes(covariance(line), 0.99), torch.tensor([[0.6, 0.8]]).double())


@pytest.mark.parametrize("variance", [0, 1, 1.5, float("nan"), "most"])
def test_a_share_that_leaves_nothing_over_is_refused(rows, variance):
    with pytest.raises(ConfigError, match="variance: expected a number"):
        principal_axes(covariance(rows), variance)


def test_numbers_that_are_none_are_refused():
    with pytest.raises(NonFiniteError, match="covariance: expected finite numbers, got NaN or inf"):
        principal_axes(torch.full((3, 3), float("nan")), 0.9)
