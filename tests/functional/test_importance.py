"""How much a task counts: equations (6) and (7)."""

import re

import pytest
import torch

from fsad.errors import ShapeError
from fsad.functional.importance import generalisation_errors, importance


def test_equal_errors_give_every_task_the_same_weight():
    torch.testing.assert_close(importance(torch.full((6,), 0.37)), torch.full((6,), 1 / 6))


@pytest.mark.parametrize("seed", range(5))
def test_weights_sum_to_one_and_fall_with_the_error(seed):
    errors = torch.rand(6, generator=torch.manual_seed(seed), dtype=torch.float64)
    weights = importance(errors)
    assert weights.sum().item() == pytest.approx(1)
    assert torch.equal(weights.argsort(), (-errors).argsort())


@pytest.mark.parametrize("seed", range(5))
def test_errors_equal_the_double_loop(seed):
    generator = torch.manual_seed(seed)
    predicted = torch.rand(3, 9, generator=generator, dtype=torch.float64)
    anomalous = torch.tensor([False] * 6 + [True] * 3)
    own = (torch.rand(3, 9, generator=generator) < 0.4) & ~anomalous
    unseen = (torch.rand(3, 9, generator=generator) < 0.5) & anomalous
    for task, found in enumerate(generalisation_errors(predicted, anomalous, own, unseen)):
        terms = [
            (1.0 if unseen[task, j] else 0.5) * (predicted[task, j] - anomalous[j].double()) ** 2
            for j in range(9)
            if not own[task, j]
        ]
        assert found.item() == pytest.approx(float(sum(terms)) / len(terms))


def test_a_task_that_saw_every_image_has_no_error_and_other_shapes_are_refused():
    whole = torch.ones(1, 2, dtype=torch.bool)
    assert generalisation_errors(torch.ones(1, 2), ~whole[0], whole, ~whole).tolist() == [0]
    with pytest.raises(ShapeError, match=re.escape("own: expected (t, n) with t=1, n=2, got (2,)")):
        generalisation_errors(torch.ones(1, 2), ~whole[0], whole[0], ~whole)
