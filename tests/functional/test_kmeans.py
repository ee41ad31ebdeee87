"""k-means: the laws of its result, and scikit-learn's groups."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from fsad.errors import ConfigError
from fsad.functional.kmeans import first_centres, kmeans


@pytest.fixture(params=range(5), ids=lambda seed: f"seed{seed}")
def seed(request):
    return request.param


def rows(seed, count=40):
    return torch.randn(count, 5, generator=torch.manual_seed(seed), dtype=torch.float64)


def test_each_row_is_with_its_nearest_centre_and_each_centre_the_mean_of_its_rows(seed):
    groups, centres = kmeans(rows(seed), 4, np.random.default_rng(seed))
    assert torch.equal(torch.cdist(rows(seed), centres).argmin(dim=1), groups)
    for group, centre in enumerate(centres):
        torch.testing.assert_close(rows(seed)[groups == group].mean(dim=0), centre)


def test_from_the_same_centres_the_groups_are_those_of_scikit_learn(seed):
    data = rows(seed)
    groups, _ = kmeans(data, 3, np.random.default_rng(seed))
    start = first_centres(data, 3, np.random.default_rng(seed)).numpy()
    theirs = KMeans(3, init=start, n_init=1, tol=0, algorithm="lloyd").fit(data.numpy())
    assert groups.tolist() == theirs.labels_.tolist()


def test_groups_that_lie_far_apart_are_found(seed):
    centres = 100 * torch.eye(5, dtype=torch.float64)[:3]
    true = torch.arange(30) % 3
    groups, _ = kmeans(centres[true] + rows(seed, 30), 3, np.random.default_rng(seed))
    assert len({(a, b) for a, b in zip(true.tolist(), groups.tolist(), strict=True)}) == 3


def test_equal_rows_are_no_error():
    groups, _ = kmeans(torch.ones(6, 2), 3, np.random.default_rng(0))
    assert groups.tolist() == [0] * 6


def test_more_groups_than_rows_are_refused():
    with pytest.raises(ConfigError, match="clusters: expected at most 2, one per row, got 3"):
        kmeans(torch.zeros(2, 1), 3, np.random.default_rng(0))
