import pytest
import torch
from sklearn.covariance import ShrunkCovariance
from torch.testing import assert_close

from fsad.errors import ConfigError
from fsad.functional.gaussian import FLOOR, PositionGaussians, windows

P, M, C, N = 5, 6, 20, 4


@pytest.mark.parametrize("shrinkage", [0.1, 0.5, 1.0])
def test_distances_are_those_of_scikit_learns_shrunk_covariance(normal, shrinkage):
    samples, queries = normal(P, M, C) * (1 + normal(P, 1, 1).abs()), normal(N, P, C)
    ours = PositionGaussians.fit(samples, shrinkage).distances(queries)
    for position in range(P):
        theirs = ShrunkCovariance(shrinkage=shrinkage).fit(samples[position].numpy())
        squares = theirs.mahalanobis(queries[:, position].numpy())
        assert_close(ours[:, position], torch.from_numpy(squares).sqrt(), rtol=1e-8, atol=1e-10)


def test_the_mean_of_the_samples_is_at_distance_0_and_every_sample_beyond(normal):
    samples = normal(P, M, C)
    gaussians = PositionGaussians.fit(samples, 0.1)
    assert float(gaussians.distances(samples.mean(dim=1)[None]).max()) < 1e-6
    assert float(gaussians.distances(samples.transpose(0, 1)).min()) > 0.1


def test_a_position_whose_samples_are_all_alike_has_the_floors_variance(normal):
    samples = normal(P, M, C)
    samples[0] = samples[0, :1]
    gaussians = PositionGaussians.fit(samples, 0.1)
    step = torch.zeros(1, P, C, dtype=torch.float64)
    step[..., 0] = 1.0
    variance = (samples - samples.mean(dim=1, keepdim=True)).square().mean()
    expected = 1 / (0.1 * FLOOR * variance).sqrt()
    assert_close(gaussians.distances(samples.mean(dim=1) + step)[0, 0], expected)


def test_windows_hold_a_cells_neighbours_and_repeat_the_border(normal):
    features = normal(2, 3, 4, 5)
    rows = windows(features, 3)
    assert rows.shape == (20, 2 * 9, 3)
    inner = rows[1 * 5 + 2].view(2, 3, 3, 3)
    assert_close(inner, features[:, :, 0:3, 1:4].permute(0, 2, 3, 1))
    assert_close(rows[0].view(2, 3, 3, 3)[:, 0, 0], features[:, :, 0, 0])
    assert torch.equal(windows(features, 1), features.flatten(2).permute(2, 0, 1))


def test_arguments_out_of_range_are_refused(normal):
    with pytest.raises(ConfigError, match=r"^size: expected an odd number.*got 2"):
        windows(normal(1, 1, 4, 4), 2)
    with pytest.raises(ConfigError, match=r"^shrinkage: expected a number"):
        PositionGaussians.fit(normal(1, 2, 3), 0.0)
