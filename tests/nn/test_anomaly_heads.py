"""Heads on feature maps: closed forms, and gradients that are there."""

import pytest
import torch

from fsad.nn.anomaly_heads import DeviationHeads, DisentangledHeads, ResidualHead, TopKHead


def maps(count=3, channels=6, side=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, side, side, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("side", "count"), [(14, 19), (7, 4), (2, 1)])
def test_an_image_scores_the_mean_of_its_worst_tenth(side, count):
    head = TopKHead(6).double()
    scores = head(maps(side=side))
    cells = torch.einsum("c,nchw->nhw", head.conv.weight[0, :, 0, 0], maps(side=side))
    cells = (cells + head.conv.bias).abs()
    torch.testing.assert_close(scores.cells, cells)
    worst = cells.flatten(1).sort(dim=1).values[:, -count:]
    torch.testing.assert_close(scores.images, worst.mean(dim=1))


def test_every_weight_of_the_residual_head_has_a_gradient_from_the_start():
    head = ResidualHead(6).double()
    head(maps(), maps(1, seed=1)).images.sum().backward()
    # a bias before batch norm moves nothing
    dead = [name for name, it in head.named_parameters() if not it.grad.abs().sum() > 1e-12]
    assert dead in ([], ["conv.bias"])


@pytest.mark.parametrize("side", [2, 5, 8])
def test_the_worst_cells_alone_have_the_score_and_the_gradient_of_the_whole_map(side):
    head = ResidualHead(6).double()
    head(maps(side=side), maps(1, side=side, seed=1))  # moves the statistics of its batch norm
    head.eval()
    features, reference = maps(side=side, seed=2).requires_grad_(), maps(1, side=side, seed=3)
    whole = head.top(head.norm(head.conv(reference - features)).relu())
    ours = head(features, reference)
    torch.testing.assert_close(ours.images, whole.images)
    torch.testing.assert_close(ours.cells, whole.cells)
    weights = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    found, expected = (
        torch.autograd.grad((weights * it.images).sum(), [features, *head.parameters()])
        for it in (ours, whole)
    )
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_residual_of_the_reference_itself_is_that_of_no_difference():
    head = ResidualHead(6).double().eval()
    same = head(maps(1), maps(1)).images
    torch.testing.assert_close(same, head(maps(1) * 0, maps(1) * 0).images)


def test_a_score_is_the_mean_over_scales_and_cells_lie_on_the_finest_grid():
    heads = DeviationHeads(6, seed=0).double()
    fine, coarse = maps(side=8), maps(side=4, seed=1)
    said = heads([fine, coarse], [fine[:1], coarse[:1]])["seen"]
    apart = [heads.seen(scale) for scale in (fine, coarse)]
    torch.testing.assert_close(said.images, (apart[0].images + apart[1].images) / 2)
    wide = torch.nn.functional.interpolate(apart[1].cells[:, None], 8, mode="bilinear")[:, 0]
    torch.testing.assert_close(said.cells, (apart[0].cells + wide) / 2)


def test_the_parts_of_four_heads_are_higher_where_more_anomalous():
    heads = DisentangledHeads(6, seed=0).double().eval()
    said = heads([maps()], [maps(1)])
    parts = heads.signed(said)
    assert tuple(parts) == ("seen", "pseudo", "residual", "normality")
    assert (parts["normality"].images <= 0).all()
    assert parts["normality"].cells is None
    assert all((parts[name].images >= 0).all() for name in ("seen", "pseudo", "residual"))


def test_weights_are_a_function_of_the_seed():
    def weights(seed):
        return torch.cat([it.flatten() for it in DisentangledHeads(6, seed).parameters()])

    state = torch.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), state)
