"""The flow: its volume is that of the Jacobian, and it starts by changing nothing."""

import pytest
import torch
from torch.testing import assert_close

from fsad.errors import ConfigError, ShapeError
from fsad.nn.flow import Coupling, Flow, position_encoding

C, GRID = 4, (2, 3)


def flow(seed=0):
    made = Flow(C, GRID, hidden=8, kernels=(3, 1), clamp=1.9, condition=4, seed=seed).double()
    made.position = made.position.double()
    return made


def wild(made, seed=1):
    """Give the couplings something to do."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in made.parameters():
            weight += torch.randn(weight.shape, generator=rng, dtype=weight.dtype)
    return made


def test_the_volume_is_the_log_determinant_of_the_jacobian(normal):
    made, features = wild(flow()), normal(1, C, *GRID)
    _, volume = made(features)
    jacobian = torch.autograd.functional.jacobian(lambda x: made(x)[0].flatten(), features)
    determinant = torch.linalg.slogdet(jacobian.view(features.numel(), -1)).logabsdet
    assert_close(volume.sum(), determinant)


def test_a_flow_starts_as_a_shuffle_of_channels(normal):
    features = normal(2, C, *GRID)
    z, volume = flow()(features)
    assert not volume.any()
    assert_close(z.sort(dim=1).values, features.sort(dim=1).values)


@torch.no_grad()
def test_two_inputs_never_meet(normal):
    made = wild(flow())
    one, other = normal(1, C, *GRID), normal(1, C, *GRID)
    assert float((made(one)[0] - made(other)[0]).abs().max()) > 1e-6


@torch.no_grad()
def test_a_blocks_log_scales_stay_within_the_clamp(normal):
    block = wild(Coupling(C, 4, 8, 3, clamp=0.5, seed=0).double())
    position = position_encoding(4, *GRID).double()
    _, volume = block(100 * normal(3, C, *GRID), position)
    assert float(volume.abs().max()) <= 0.5 * C


def test_the_seed_decides_weights_and_shuffle():
    first, again, other = (flow(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["blocks.0.nets.0.0.weight"], other["blocks.0.nets.0.0.weight"])


def test_every_position_has_an_encoding_of_its_own():
    rows = position_encoding(32, 28, 28)[0].flatten(1).T
    apart = torch.cdist(rows, rows).fill_diagonal_(1)
    assert float(apart.min()) > 1e-2


def test_channels_that_do_not_fit_are_refused(normal):
    with pytest.raises(ConfigError, match="flow channels: expected an even number, got 3"):
        Coupling(3, 4, 8, 3, 1.9, 0)
    with pytest.raises(ConfigError, match="position channels: expected a multiple of 4, got 6"):
        position_encoding(6, 2, 2)
    with pytest.raises(ShapeError, match="features: expected"):
        flow()(normal(1, C, 5, 5))
