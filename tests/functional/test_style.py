import pytest
import torch
from torch.testing import assert_close

from fsad.errors import ShapeError
from fsad.functional.style import perturb_style

N, C, H, W = 3, 5, 4, 6


@pytest.fixture
def features(normal):
    """Maps whose channels have means and spreads of their own."""
    return normal(N, C, H, W) * normal(N, C, 1, 1).exp() + 3 * normal(N, C, 1, 1)


@pytest.fixture
def factors(normal):
    return 0.75 * normal(N, C, 1, 1), 0.75 * normal(N, C, 1, 1)


def mean(maps):
    return maps.mean(dim=(2, 3), keepdim=True)


def std(maps):
    return maps.std(dim=(2, 3), keepdim=True, correction=0)


@pytest.mark.parametrize("shape", [(N, C, 1, 1), (N, 1, H, W)], ids=["channel", "spatial"])
def test_zero_factors_change_nothing(features, shape):
    zero = features.new_zeros(shape)
    assert torch.equal(perturb_style(features, zero, zero), features)


def test_every_mean_is_multiplied_by_one_plus_p_avg(features, factors):
    p_avg, p_std = factors
    assert_close(mean(perturb_style(features, p_avg, p_std)), (1 + p_avg) * mean(features))


def test_every_std_is_multiplied_by_the_size_of_one_plus_p_std(features, factors):
    p_avg, p_std = factors
    p_std[0, 0] = -2.5  # 1 + p_std below zero mirrors the channel about its mean
    assert_close(std(perturb_style(features, p_avg, p_std)), (1 + p_std).abs() * std(features))


def test_equals_the_renormalisation_of_equation_5(features, factors):
    p_avg, p_std = factors
    whitened = (features - mean(features)) / std(features)
    renormalised = (1 + p_std) * std(features) * whitened + (1 + p_avg) * mean(features)
    assert_close(perturb_style(features, p_avg, p_std), renormalised)


def test_factors_per_cell_act_on_their_own_cell(features, normal):
    p_avg, p_std = normal(N, 1, H, W), normal(N, 1, H, W)
    out = perturb_style(features, p_avg, p_std)
    for n, c, h, w in torch.cartesian_prod(*map(torch.arange, (N, C, H, W))).tolist():
        average = features[n, c].sum() / (H * W)
        deviation = features[n, c, h, w] - average
        expected = (1 + p_std[n, 0, h, w]) * deviation + (1 + p_avg[n, 0, h, w]) * average
        assert_close(out[n, c, h, w], expected)


def test_a_constant_channel_is_scaled_and_has_finite_gradients(normal):
    p_avg, p_std = normal(1, 2, 1, 1), normal(1, 2, 1, 1)
    features = torch.full((1, 2, H, W), 4.0, dtype=torch.float64, requires_grad=True)
    out = perturb_style(features, p_avg, p_std)
    out.square().sum().backward()
    assert_close(out, ((1 + p_avg) * 4).expand_as(out))
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_an_image_does_not_depend_on_its_batch(features, factors):
    p_avg, p_std = factors
    alone = [
        perturb_style(features[n : n + 1], p_avg[n : n + 1], p_std[n : n + 1]) for n in range(N)
    ]
    assert_close(perturb_style(features, p_avg, p_std), torch.cat(alone))


def test_factors_that_do_not_broadcast_are_refused():
    features, good = torch.zeros(2, 5, 4, 6), torch.zeros(2, 5, 1, 1)
    with pytest.raises(
        ShapeError,
        match=r"^p_avg: expected a shape that broadcasts to \(2, 5, 4, 6\), got \(2, 3, 1, 1\)$",
    ):
        perturb_style(features, torch.zeros(2, 3, 1, 1), good)
    with pytest.raises(
        ShapeError, match=r"^p_std: expected a shape that broadcasts .* got \(5,\)$"
    ):
        perturb_style(features, good, torch.zeros(5))


def test_features_without_four_axes_are_refused():
    factors = torch.zeros(1, 1, 1, 1)
    with pytest.raises(ShapeError, match=r"^features: expected \(n, c, h, w\), got \(5, 4, 6\)$"):
        perturb_style(torch.zeros(5, 4, 6), factors, factors)
