"""The numbers beside the figures: closed forms."""

import numpy as np
import pytest

from fsad.report.closeness import gap_of_means, mixed, mixing, moved


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_gap_of_means_is_that_of_two_points_and_free_of_scale(rng):
    first, second = np.array([[3.0, 4.0]] * 5), np.array([[0.0, 5.0]] * 5)  # all norms are 5
    assert gap_of_means(first, second) == pytest.approx(np.hypot(3, 1) / 5)
    first, second = rng.normal(size=(20, 6)), rng.normal(size=(30, 6)) + 1
    assert gap_of_means(7 * first, 7 * second) == pytest.approx(gap_of_means(first, second))


def test_rows_that_are_doubled_move_by_their_norm_and_those_that_stay_by_nothing(rng):
    rows = rng.normal(size=(20, 6))
    assert moved(rows, 2 * rows) == pytest.approx(1)
    assert moved(rows, rows) == 0


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_clouds_apart_never_mix_and_pairs_of_twins_always_do(rng, metric):
    first = rng.normal(size=(20, 6))
    far = np.array([50, 0, 0, 0, 0, 0])
    assert mixing(first + far, first - far, metric) == 0
    assert mixing(first, first + 1e-6, metric) == 1


def test_clouds_of_one_kind_mix_as_chance_has_it(rng):
    first, second = rng.normal(size=(700, 3)), rng.normal(size=(300, 3))
    chance = mixed(700, 300)
    assert chance == pytest.approx((700 * 300 / 999 + 300 * 700 / 999) / 1000)
    # Four standard deviations of a share of 1000; neighbours that choose each other count twice.
    assert mixing(first, second, "euclidean") == pytest.approx(
        chance, abs=4 * (2 * 0.25 / 1000) ** 0.5
    )
