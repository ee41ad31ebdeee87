from copy import deepcopy

import pytest
import torch
from torch import nn

from fsad.errors import ConfigError
from fsad.pretrain.muon import Muon, orthogonalised


def matrix(m, n, seed=0, dtype=torch.float64):
    return torch.randn(m, n, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def with_singular_values(values, m, n):
    u, v = torch.linalg.qr(matrix(m, m)).Q, torch.linalg.qr(matrix(n, n, 1)).Q
    k = len(values)
    return u[:, :k] @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ v[:, :k].mT, u, v


@pytest.mark.parametrize(("m", "n"), [(8, 8), (12, 6), (6, 12)])
def test_singular_vectors_stay_and_singular_values_come_near_one(m, n):
    values = [2.0, 1.0, 0.5, 0.1, 0.02]
    mixed, u, v = with_singular_values(values, m, n)
    turned = orthogonalised(mixed[None])[0]
    core = u[:, :5].mT @ turned @ v[:, :5]
    torch.testing.assert_close(core - torch.diag(core.diagonal()), torch.zeros_like(core))
    assert float(core.diagonal().min()) > 0.6
    assert float(core.diagonal().max()) < 1.3


def test_scale_changes_nothing_and_a_transpose_is_transposed():
    some = matrix(7, 4)[None]
    torch.testing.assert_close(orthogonalised(1e3 * some), orthogonalised(some))
    torch.testing.assert_close(orthogonalised(some.mT), orthogonalised(some).mT)


def test_matrices_are_taken_one_by_one():
    both = torch.stack([matrix(5, 9), matrix(5, 9, 1)])
    alone = torch.stack([orthogonalised(one[None])[0] for one in both])
    torch.testing.assert_close(orthogonalised(both), alone)


def stepped(optimizer, weight, steps=3):
    for number in range(steps):
        weight.grad = matrix(*weight.shape, seed=10 + number, dtype=weight.dtype)
        optimizer.step()
    return weight.detach()


def test_it_equals_torchs_muon_up_to_the_bfloat16_that_one_computes_in():
    ours, theirs = (nn.Parameter(matrix(16, 24, dtype=torch.float32)) for _ in range(2))
    start = ours.detach().clone()
    stepped(Muon([ours], lr=0.01, weight_decay=0.1), ours)
    reference = torch.optim.Muon(
        [theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    stepped(reference, theirs)
    # bfloat16 has 8 bits: five products leave a few percent of the way
    way = (theirs.detach() - start).norm()
    assert float((ours.detach() - theirs.detach()).norm()) < 0.05 * float(way)


def test_pieces_are_matrices_of_their_own():
    whole = nn.Parameter(matrix(12, 4))
    parts = [nn.Parameter(matrix(12, 4)[4 * i : 4 * i + 4].clone()) for i in range(3)]
    stacked = Muon([{"params": [whole], "pieces": 3}], lr=0.1)
    apart = Muon(parts, lr=0.1)
    gradient = matrix(12, 4, 7)
    whole.grad = gradient.clone()
    for i, part in enumerate(parts):
        part.grad = gradient[4 * i : 4 * i + 4].clone()
    stacked.step()
    apart.step()
    torch.testing.assert_close(whole.detach(), torch.cat([part.detach() for part in parts]))


def test_it_goes_on_from_its_state():
    one, two = nn.Parameter(matrix(6, 6)), nn.Parameter(matrix(6, 6))
    first = Muon([one], lr=0.1)
    stepped(first, one, 2)
    with torch.no_grad():
        two.copy_(one)
    second = Muon([two], lr=0.1)
    second.load_state_dict(deepcopy(first.state_dict()))
    torch.testing.assert_close(stepped(first, one), stepped(second, two))


def test_no_pieces_are_refused():
    with pytest.raises(ConfigError, match="pieces: expected a whole number of at least 1, got 0"):
        Muon([{"params": [nn.Parameter(matrix(2, 2))], "pieces": 0}], lr=0.1)
