"""The Intrinsic Deviation Encoder: each sample by itself, and nothing but its own patches."""

import re

import pytest
import torch

from fsad.errors import ConfigError
from fsad.nn.deviation_encoder import DeviationEncoder, sine_positions

CHANNELS = 16


@pytest.fixture
def encoder():
    return DeviationEncoder(CHANNELS, vectors=5, seed=3).double().eval()


@pytest.fixture(params=range(5), ids=lambda seed: f"seed{seed}")
def patches(request):
    """Keys and residuals ``(n, l, c)`` of three samples with 7, 2 and 4 patches."""
    options = {"generator": torch.Generator().manual_seed(request.param), "dtype": torch.float64}
    present = torch.arange(7) < torch.tensor([7, 2, 4])[:, None]
    return torch.randn(3, 7, CHANNELS, **options), torch.randn(3, 7, CHANNELS, **options), present


def test_several_samples_give_what_each_gives_alone(encoder, patches):
    together = encoder(*patches)
    for sample, count in enumerate((7, 2, 4)):
        alone = [each[sample : sample + 1, :count] for each in patches]
        torch.testing.assert_close(together[sample : sample + 1], encoder(*alone))


def test_what_padding_holds_changes_nothing(encoder, patches):
    keys, residuals, present = patches
    padding = ~present[:, :, None]
    changed = encoder(keys + 100 * padding, residuals - 100 * padding, present)
    torch.testing.assert_close(changed, encoder(*patches))


def test_the_order_of_the_patches_changes_nothing(encoder, patches):
    flipped = [each.flip(1) for each in patches]
    torch.testing.assert_close(encoder(*flipped), encoder(*patches))


def test_it_is_attention_over_the_present_patches_written_out(encoder, patches):
    """Softmax of scaled products, head by head, with the weights that the module holds."""
    keys, residuals, present = patches
    inner, heads = encoder.attention, 8
    weights, biases = inner.in_proj_weight.chunk(3), inner.in_proj_bias.chunk(3)
    for sample in range(3):
        own = present[sample]
        query, key, value = (
            (rows @ weight.T + bias).unflatten(1, (heads, -1)).transpose(0, 1)
            for rows, weight, bias in zip(
                (encoder.vectors, keys[sample, own], residuals[sample, own]),
                weights,
                biases,
                strict=True,
            )
        )
        shares = (query @ key.transpose(1, 2) / (CHANNELS / heads) ** 0.5).softmax(dim=2)
        gathered = inner.out_proj((shares @ value).transpose(0, 1).flatten(1))
        vectors = encoder.attention_norm(encoder.vectors + gathered)
        wide = torch.nn.functional.gelu(encoder.widen(vectors))
        expected = encoder.norm(vectors + encoder.narrow(wide))
        torch.testing.assert_close(encoder(*patches)[sample], expected)


def test_it_has_as_many_weights_as_published():
    assert sum(each.numel() for each in DeviationEncoder(384).parameters()) == 1_791_744


def test_weights_are_a_function_of_the_seed():
    def weights(seed):
        return torch.cat([it.flatten() for it in DeviationEncoder(16, 5, seed).parameters()])

    state = torch.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("grid", [(4, 4), (28, 28), (3, 7)])
def test_no_two_places_are_alike(grid):
    rows = sine_positions(grid, 32)
    assert rows.shape == (grid[0] * grid[1], 32)
    distances = torch.cdist(rows.double(), rows.double())
    assert distances.fill_diagonal_(1).min() > 1e-3
    assert rows.abs().max() <= 1


def test_what_it_cannot_do_is_refused(encoder, patches):
    keys, residuals, present = patches
    present = present & (torch.arange(3) != 1)[:, None]
    with pytest.raises(ConfigError, match="present: expected a patch in each sample, got a sample"):
        encoder(keys, residuals, present)
    message = re.escape("backbone: expected a multiple of 8 channels")
    with pytest.raises(ConfigError, match=message):
        DeviationEncoder(12)
    with pytest.raises(ConfigError, match=r"vectors: expected a whole number of at least 1"):
        DeviationEncoder(16, 0)
