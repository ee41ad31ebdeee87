"""What goes beyond the paper: laws of the corrected scores."""

import pytest
import torch
from torch.testing import assert_close

from fsad.errors import ConfigError
from fsad.functional.prepared import prepare
from fsad.functional.scoring import patch_scores
from fsad.methods.hypertrans.normal import CorrectedScores
from fsad.methods.hypertrans.settings import Extensions

C, ROWS = 6, 126  # channels, and patches of the shots


@pytest.fixture
def banks(normal):
    return normal(40, C), normal(ROWS, C) + 3 * normal(1, C)


def scores(banks, **plus):
    source, target = (prepare(bank) for bank in banks)
    return CorrectedScores(source, target, Extensions(**plus))


def test_with_all_off_they_are_the_nearest_distances(banks, normal):
    queries = normal(10, C)
    maps = queries.T.reshape(1, C, 1, 10)
    for ours, bank in zip(scores(banks).score(queries), banks, strict=True):
        assert_close(ours, patch_scores(maps, bank).flatten())


def test_the_excess_is_the_formula_written_out(banks, normal):
    source, target = banks
    queries = target[::7] + 0.5 * normal(ROWS // 7, C)
    of_shots = torch.cdist(target, source).amin(dim=1)
    gap = (of_shots - of_shots.quantile(0.75)).clamp(min=0)
    assert float(gap.max()) > 0
    twins = torch.cdist(queries, target).topk(3, largest=False).indices
    expected = torch.cdist(queries, source).amin(dim=1) - gap[twins].mean(dim=1)
    ours, _ = scores(banks, excess=True).score(queries)
    assert_close(ours, expected)


def test_the_excess_forgives_the_gap_of_the_few_patches_that_have_one(normal):
    source, target = normal(400, C), normal(ROWS, C)
    few = torch.arange(ROWS) < 10
    target[few, 0] += 50  # where one sensor sees what the other does not
    queries = target[:20] + 0.1 * normal(20, C)
    plain, _ = scores((source, target)).score(queries)
    excess, _ = scores((source, target), excess=True).score(queries)
    assert float(plain[:10].min()) > 40
    assert float(excess.max()) < 5


def test_the_excess_is_never_above_the_plain_distance(banks, normal):
    queries = 3 * normal(30, C)
    plain, _ = scores(banks).score(queries)
    excess, _ = scores(banks, excess=True).score(queries)
    assert bool((excess <= plain).all())


@pytest.mark.parametrize("value", [0, True, 1.5, "all"])
def test_a_shot_has_at_least_one_view(value):
    said = rf"method\.plus\.rotations: expected auto or a whole number of at least 1, got {value!r}"
    with pytest.raises(ConfigError, match=said):
        Extensions(rotations=value)


def test_switches_are_true_or_false():
    with pytest.raises(ConfigError, match=r"method\.plus\.excess: expected true or false"):
        Extensions(excess="maybe")
