import pytest
import torch
from torch.testing import assert_close

from fsad.errors import ConfigError
from fsad.functional import reweighting
from fsad.functional.scoring import patch_scores

N, C, H, W, ROWS = 3, 5, 2, 4, 30


def reweighted_scores(features, bank, neighbours):
    patches = patch_scores(features, bank)
    return reweighting.reweighted_scores(features, patches, bank, neighbours)


@pytest.fixture
def features(normal):
    return normal(N, C, H, W)


@pytest.mark.parametrize("neighbours", [2, 3, 9, 40])
def test_the_score_is_patchcores_equation_7(features, normal, neighbours):
    bank = normal(ROWS, C)
    scores = reweighted_scores(features, bank, neighbours)
    for image, score in zip(features, scores, strict=True):
        apart = torch.cdist(image.flatten(1).T, bank)
        farthest = apart.min(dim=1).values.argmax()
        star, row = apart[farthest].min(dim=0)
        around = torch.cdist(bank[row][None], bank)[0].argsort()[: min(neighbours, ROWS)]
        weight = 1 - star.exp() / apart[farthest, around].exp().sum()
        assert_close(score, weight * star)


def test_the_weight_lies_between_1_minus_1_over_b_and_1(features, normal):
    bank = normal(ROWS, C)
    plain = torch.cdist(features.flatten(2).mT, bank).amin(dim=2).amax(dim=1)
    weight = reweighted_scores(features, bank, 4) / plain
    assert bool(((weight >= 1 - 1 / 4) & (weight < 1)).all())


def test_large_distances_do_not_overflow(features, normal):
    assert bool(reweighted_scores(1e4 * features, normal(ROWS, C), 9).isfinite().all())


def test_twins_in_the_bank_weigh_as_the_equation_says(features, normal):
    bank = normal(1, C).repeat(6, 1)
    star = torch.cdist(features.flatten(2).mT, bank).amin(dim=2).amax(dim=1)
    assert_close(reweighted_scores(features, bank, 4), (1 - 1 / 4) * star)


def test_a_bank_of_one_row_gives_the_distance_itself(features, normal):
    bank = normal(1, C)
    star = torch.cdist(features.flatten(2).mT, bank).amin(dim=2).amax(dim=1)
    assert_close(reweighted_scores(features, bank, 9), star)


def test_a_single_neighbour_is_refused(features, normal):
    with pytest.raises(ConfigError, match=r"^neighbours: expected .* at least 2, got 1"):
        reweighted_scores(features, normal(ROWS, C), 1)
