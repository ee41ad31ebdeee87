import pytest
import torch

from fsad.errors import ShapeError
from fsad.pretrain.distil import relation_loss


@pytest.fixture
def features():
    return torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def rotation(size, seed=1):
    matrix = torch.randn(
        size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return torch.linalg.qr(matrix).Q


def test_the_relation_loss_ignores_rotation_shift_and_scale(features):
    moved = 3.5 * features @ rotation(6) + 2.0
    # What is left is the diagonal's floor: a distance of 1e-3 in place of 0
    assert float(relation_loss(features, moved)) < 1e-6


def test_the_relation_loss_sees_a_stretched_axis(features):
    stretched = features * torch.tensor([4.0, 1, 1, 1, 1, 1], dtype=torch.float64)
    assert float(relation_loss(features, stretched)) > 0.01


def test_the_relation_loss_equals_its_formula(features):
    others = torch.randn(40, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ours, theirs = (
        torch.tensor([[float((a - b).norm()) for b in rows] for a in rows], dtype=torch.float64)
        for rows in (features, others)
    )
    expected = (ours / ours.mean() - theirs / theirs.mean()).square().mean()
    torch.testing.assert_close(relation_loss(features, others), expected, rtol=1e-3, atol=1e-6)


def test_the_relation_loss_has_a_finite_gradient_where_patches_coincide(features):
    twins = torch.cat([features, features]).requires_grad_()
    relation_loss(twins, torch.cat([features, 2 * features])).backward()
    assert bool(torch.isfinite(twins.grad).all())


def test_the_relation_loss_refuses_other_patches(features):
    with pytest.raises(ShapeError, match="targets: expected"):
        relation_loss(features, features[:10])
