import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fsad.errors import ConfigError
from fsad.functional.perlin import channel_factors

STD = 0.75


@pytest.fixture(params=range(5), ids=lambda seed: f"seed{seed}")
def rng(request):
    return np.random.default_rng(request.param)


def assert_standardised(draws: Tensor, std: float) -> None:
    """Every row has mean 0 and standard deviation ``std``, up to float32."""
    draws = draws.double()
    zero, wanted = torch.zeros(len(draws)), torch.full((len(draws),), std)
    assert_close(draws.mean(dim=1), zero.double(), rtol=0, atol=1e-6 * std)
    assert_close(draws.std(dim=1, correction=0), wanted.double(), rtol=1e-6, atol=0)


def lag_correlation(draws: Tensor, lag: int) -> float:
    """Correlation of values ``lag`` apart in each row, averaged over the rows."""
    left, right = draws[:, :-lag].double(), draws[:, lag:].double()
    return float(
        torch.stack(
            [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(left, right, strict=True)]
        ).mean()
    )


@pytest.mark.parametrize("channels", [2, 3, 65, 384, 768, 1100])
def test_every_draw_over_channels_has_mean_0_and_the_std_asked_for(rng, channels):
    for std in (STD, 0.1):
        for factors in channel_factors(4, channels, std, rng):
            assert factors.shape == (4, channels, 1, 1)
            assert_standardised(factors.flatten(1), std)


def draw(rng):
    return channel_factors(2, 48, STD, rng)


class TestRandomness:
    def test_the_same_generator_gives_the_same_noise(self):
        first, second = (torch.stack(draw(np.random.default_rng(3))) for _ in range(2))
        assert torch.equal(first, second)

    def test_another_seed_gives_other_noise(self):
        first, second = (torch.stack(draw(np.random.default_rng(seed))) for seed in (3, 4))
        assert not torch.equal(first, second)

    def test_images_and_the_two_factors_are_drawn_apart(self):
        p_avg, p_std = draw(np.random.default_rng(3))
        draws = torch.cat([p_avg, p_std]).flatten(1)
        correlation = torch.corrcoef(draws.double()).fill_diagonal_(0)
        assert correlation.abs().max() < 0.99

    def test_no_global_generator_is_read_or_moved(self):
        np.random.seed(0)
        before, torch_before = np.random.get_state(), torch.get_rng_state()
        draw(np.random.default_rng(3))
        assert np.array_equal(before[1], np.random.get_state()[1])
        assert torch.equal(torch_before, torch.get_rng_state())


def test_neighbouring_channels_are_disturbed_alike_and_distant_ones_are_not(rng):
    draws = torch.cat(channel_factors(32, 768, STD, rng)).flatten(1)  # folded from 28 columns
    assert lag_correlation(draws, 1) > 0.7
    assert lag_correlation(draws, 28) > 0.7  # the cell below
    shuffled = draws[:, torch.randperm(768)]
    assert abs(lag_correlation(shuffled, 1)) < 0.1


def test_sizes_and_std_out_of_range_are_refused_by_name():
    rng = np.random.default_rng(0)
    least = "expected a whole number of at least"
    with pytest.raises(ConfigError, match=rf"^channels: {least} 2, got 1$"):
        channel_factors(1, 1, STD, rng)
    with pytest.raises(ConfigError, match=rf"^images: {least} 1, got 0$"):
        channel_factors(0, 8, STD, rng)
    with pytest.raises(ConfigError, match=r"^std: expected a number above 0, got 0$"):
        channel_factors(1, 8, 0, rng)
