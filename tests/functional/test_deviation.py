"""The deviation loss against its closed form."""

import re

import numpy as np
import pytest
import torch

from fsad.errors import ConfigError, ShapeError
from fsad.functional.deviation import deviation_losses, mean_where, prior_moments

NORMAL, ANOMALOUS = torch.tensor([False]), torch.tensor([True])


def loss(score, anomalous, **options):
    scores = torch.tensor([score], dtype=torch.float64, requires_grad=True)
    value = deviation_losses(scores, anomalous, **options)
    value.sum().backward()
    return value.item(), scores.grad.item()


@pytest.mark.parametrize(
    ("score", "anomalous", "value", "gradient"),
    [
        (0.0, NORMAL, 0.0, 0.0),
        (1.5, NORMAL, 1.5, 1.0),
        (-2.0, NORMAL, 2.0, -1.0),
        (0.0, ANOMALOUS, 5.0, -1.0),
        (3.0, ANOMALOUS, 2.0, -1.0),
        (7.0, ANOMALOUS, 0.0, 0.0),
    ],
)
def test_the_loss_and_its_gradient_are_the_closed_form(score, anomalous, value, gradient):
    assert loss(score, anomalous) == (value, gradient)


def test_scores_are_measured_in_deviations_of_the_prior():
    value, gradient = loss(4.0, ANOMALOUS, margin=3.0, moments=(1.0, 2.0))
    assert (value, gradient) == (1.5, -0.5)


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_never_negative_and_that_of_a_perfect_score_is_nothing(seed):
    scores = 8 * torch.randn(50, dtype=torch.float64, generator=torch.manual_seed(seed))
    labels = torch.rand(50, generator=torch.manual_seed(seed)) < 0.5
    losses = deviation_losses(scores, labels)
    assert (losses >= 0).all()
    assert torch.equal(losses[labels] == 0, scores[labels] >= 5)


def test_the_prior_is_drawn_anew_from_its_generator_and_close_to_standard_normal():
    one, other = (prior_moments(5000, np.random.default_rng(seed)) for seed in (0, 1))
    assert one == prior_moments(5000, np.random.default_rng(0))
    assert one != other
    assert abs(one[0]) < 0.06
    assert abs(one[1] - 1) < 0.04


def test_values_that_do_not_count_do_not_move_the_mean():
    values = torch.tensor([1.0, 5.0, 100.0])
    assert mean_where(values, torch.tensor([True, True, False])) == 3
    assert mean_where(values, torch.zeros(3, dtype=torch.bool)) == 0


def test_bad_arguments_are_named():
    with pytest.raises(ShapeError, match=re.escape("anomalous: expected (n,) with n=2, got (1,)")):
        deviation_losses(torch.zeros(2), NORMAL)
    with pytest.raises(ConfigError, match="prior: expected a whole number of at least 2, got 1"):
        prior_moments(1, np.random.default_rng(0))
