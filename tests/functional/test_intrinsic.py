"""Scores by intrinsic deviations, and the four losses: laws and closed forms."""

import math
import re

import pytest
import torch
from torch.nn.functional import interpolate

from fsad.errors import ConfigError, ShapeError
from fsad.functional.intrinsic import (
    deviation_scores,
    gathering_loss,
    image_loss,
    intrinsic_scores,
    orthogonality_loss,
    pixel_loss,
)


@pytest.fixture(params=range(5), ids=lambda seed: f"seed{seed}")
def drawn(request):
    """Residuals ``(n, p, c)`` and directions ``(n, m, c)``."""
    options = {
        "generator": torch.Generator().manual_seed(request.param),
        "dtype": torch.float64,
    }
    return torch.randn(3, 10, 8, **options), torch.randn(3, 5, 8, **options)


def test_it_is_the_printed_equation(drawn):
    residuals, directions = drawn
    for sample in range(3):
        matrix = directions[sample].T @ directions[sample]
        for patch in range(10):
            residual = residuals[sample, patch]
            one, other = residual / residual.norm(), matrix @ residual
            expected = 1 - (one - other / other.norm()).norm() / 2
            found = intrinsic_scores(*drawn)[sample, patch]
            assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_lengths_and_the_order_of_the_directions_change_nothing(drawn):
    residuals, directions = drawn
    scores = intrinsic_scores(residuals, directions)
    torch.testing.assert_close(intrinsic_scores(7 * residuals, 0.3 * directions), scores)
    torch.testing.assert_close(intrinsic_scores(-residuals, directions.flip(1)), scores)


def test_a_residual_along_a_direction_scores_one_and_one_beside_all_of_them_less():
    directions = torch.eye(4, dtype=torch.float64)[None, :2]
    residuals = 3 * torch.eye(4, dtype=torch.float64)[None]
    scores = intrinsic_scores(residuals, directions)[0].tolist()
    assert scores == pytest.approx([1, 1, 1 - math.sqrt(0.5), 1 - math.sqrt(0.5)], abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_residual_has_the_lowest_score_and_a_finite_gradient(drawn, dtype):
    residuals, directions = (each.to(dtype) for each in drawn)
    residuals[0, 3] = 0
    directions.requires_grad_()
    scores = intrinsic_scores(residuals, directions)
    assert scores[0, 3] == 0
    assert scores.isfinite().all()
    assert (scores.flatten() > 0).sum() == 29
    scores.sum().backward()
    assert directions.grad.isfinite().all()


def test_the_gradient_is_right(drawn):
    residuals, directions = drawn
    directions.requires_grad_()
    assert torch.autograd.gradcheck(lambda it: intrinsic_scores(residuals, it), [directions])


def test_both_scores_count_by_half_and_a_score_is_in_the_unit_interval():
    similarity = torch.tensor([1.0, 0.0, 1.0, 0.0])
    intrinsic = torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert deviation_scores(similarity, intrinsic).tolist() == [0.0, 0.5, 0.5, 1.0]


@pytest.mark.parametrize("seed", range(5))
def test_orthogonal_rows_of_any_length_cost_nothing(seed):
    options = {"generator": torch.Generator().manual_seed(seed), "dtype": torch.float64}
    orthonormal, _ = torch.linalg.qr(torch.randn(2, 8, 5, **options))
    rows = orthonormal.transpose(1, 2) * (0.1 + torch.rand(2, 5, 1, **options))
    assert orthogonality_loss(rows).item() == pytest.approx(0, abs=1e-20)
    assert orthogonality_loss(rows[:, :1].expand(-1, 5, -1)).item() == pytest.approx(1 - 1 / 5)


def test_residuals_that_have_their_direction_cost_nothing(drawn):
    _, directions = drawn
    residuals = 2 * directions[:, [3, 0, 3]]
    anomalous = torch.ones(3, 3, dtype=torch.bool)
    assert gathering_loss(residuals, directions, anomalous).item() == pytest.approx(0, abs=1e-12)
    assert gathering_loss(-directions[:, :1], directions[:, :1], anomalous[:, :1]) == 2


def test_only_anomalous_patches_are_gathered_or_the_others_add_one_each(drawn):
    residuals, directions = drawn
    anomalous = torch.zeros(3, 10, dtype=torch.bool)
    anomalous[0, 2] = anomalous[1, 5] = True
    cosine = torch.nn.functional.cosine_similarity(
        residuals[:, :, None], directions[:, None], dim=3
    )
    best = 1 - cosine.amax(dim=2)
    mean = (best[0, 2] + best[1, 5]) / 2
    torch.testing.assert_close(gathering_loss(residuals, directions, anomalous), mean)
    published = gathering_loss(residuals, directions, anomalous, over="all")
    torch.testing.assert_close(published, (2 * mean + 28) / 30)
    assert gathering_loss(residuals, directions, torch.zeros_like(anomalous)) == 0
    with pytest.raises(ConfigError, match=r"over: expected one of anomalous, all, got 'some'"):
        gathering_loss(residuals, directions, anomalous, over="some")


def test_the_image_loss_is_the_closed_form_of_the_worst_patch():
    scores = torch.tensor([[[0.1, 0.8]], [[0.3, 0.2]]], dtype=torch.float64)
    loss = image_loss(scores, torch.tensor([True, False]))
    expected = (math.log(1 + math.exp(1 - 1.6)) + math.log(1 + math.exp(0.6 - 1))) / 2
    assert loss.item() == pytest.approx(expected)


def test_the_pixel_loss_is_written_out_in_full(drawn):
    similarity, intrinsic = (each.sigmoid()[:, :4, :4] for each in drawn)
    masks = torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(0)) < 0.2
    total = 0.0
    for sample in range(3):
        maps = [
            interpolate(it[sample][None, None], (9, 9), mode="bilinear")[0, 0]
            for it in (similarity, intrinsic)
        ]
        truths = [(~masks[sample]).double(), masks[sample].double()]
        whole = maps[0].exp() + maps[1].exp()
        for values, truth in zip(maps, truths, strict=True):
            chance = values.sigmoid() * truth + (1 - values.sigmoid()) * (1 - truth)
            share = 0.25 * truth + 0.75 * (1 - truth)
            total += (-share * (1 - chance) ** 2 * chance.log()).mean() / 6
            soft = values.exp() / whole
            total += (1 - (2 * (soft * truth).sum() + 1) / (soft.sum() + truth.sum() + 1)) / 3
    torch.testing.assert_close(pixel_loss(similarity, intrinsic, masks), total)


def test_maps_that_are_right_cost_less_than_maps_that_are_wrong():
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[:, :4, :4] = True
    right = masks.double()[:, ::4, ::4]
    assert pixel_loss(1 - right, right, masks) < pixel_loss(right, 1 - right, masks)


def test_what_does_not_fit_is_refused(drawn):
    residuals, directions = drawn
    message = re.escape("directions: expected (n, m, c) with n=3, c=8, got (2, 5, 8)")
    with pytest.raises(ShapeError, match=message):
        intrinsic_scores(residuals, directions[:2])
