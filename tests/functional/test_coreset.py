import numpy as np
import pytest
import torch

from fsad.errors import ConfigError, ShapeError
from fsad.functional.coreset import k_center_greedy


def naive_picks(features, count):
    """The definition: measure every row against every pick, again and again."""
    rows = features.numpy().astype(np.float64)
    picks = [0]
    while len(picks) < count:
        to_nearest = [min(np.linalg.norm(row - rows[pick]) for pick in picks) for row in rows]
        picks.append(int(np.argmax(to_nearest)))
    return torch.tensor(picks)


def cover_radius(features, picks):
    """The largest distance of any row to its nearest pick."""
    differences = features[:, None] - features[picks]  # (v, k, c): exactly 0 for a pick itself
    return differences.norm(dim=2).min(dim=1).values.max()


def radii(features):
    """Cover radius after 1, 2, ... picks, in the order they were made."""
    picks = k_center_greedy(features, len(features))
    return torch.stack([cover_radius(features, picks[:k]) for k in range(1, len(picks) + 1)])


def test_the_picks_equal_the_naive_loop_in_order(normal):
    features = normal(40, 7)
    assert torch.equal(k_center_greedy(features, 25), naive_picks(features, 25))


def test_the_picks_in_float32_far_from_the_origin_equal_the_naive_loop(normal):
    features = (normal(40, 7) + 1000).float()
    assert torch.equal(k_center_greedy(features, 15), naive_picks(features, 15))


def test_fewer_picks_are_a_prefix_of_more(normal):
    features = normal(40, 7)
    every = k_center_greedy(features, 40)
    for count in (1, 2, 17):
        assert torch.equal(k_center_greedy(features, count), every[:count])


def test_the_cover_radius_never_grows_and_ends_at_0(normal):
    shrinking = radii(normal(40, 7))
    assert (shrinking.diff() <= 0).all()
    assert shrinking[-1] == 0


def test_the_cover_radius_is_at_most_twice_the_best_possible(normal):
    features = normal(9, 2)  # Gonzalez's theorem, against every choice of three
    every = torch.combinations(torch.arange(9), 3)
    best = min(cover_radius(features, choice) for choice in every)
    assert cover_radius(features, k_center_greedy(features, 3)) <= 2 * best


def test_all_rows_give_a_permutation(normal):
    picks = k_center_greedy(normal(40, 7), 40)
    assert torch.equal(picks.sort().values, torch.arange(40))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_duplicates_are_never_picked_twice(normal, dtype):
    features = normal(4, 7).repeat(10, 1).to(dtype)
    picks = k_center_greedy(features, 40)
    assert torch.equal(picks.sort().values, torch.arange(40))
    assert torch.equal((picks[:4] % 4).sort().values, torch.arange(4))  # distinct rows come first


def test_identical_rows_give_a_permutation():
    picks = k_center_greedy(torch.ones(12, 3), 12)
    assert torch.equal(picks.sort().values, torch.arange(12))


def test_k_picks_hit_every_one_of_k_clusters_that_lie_apart(normal, generator):
    which = torch.arange(60) % 6
    which = which[torch.randperm(60, generator=generator)]
    features = 100 * torch.eye(6, dtype=torch.float64)[which] + normal(60, 6)
    picks = k_center_greedy(features, 6)
    assert torch.equal(which[picks].sort().values, torch.arange(6))


def test_the_progress_wrapper_sees_every_pick(normal):
    seen = []

    def progress(steps):
        for step in steps:
            seen.append(step)
            yield step

    features = normal(20, 3)
    wrapped = k_center_greedy(features, 7, progress)
    assert seen == list(range(7))
    assert torch.equal(wrapped, k_center_greedy(features, 7))


def test_no_temporary_is_larger_than_the_features(normal, largest_result):
    features = normal(300, 8)
    with largest_result:
        k_center_greedy(features, 50)
    assert largest_result.numel <= features.numel()


@pytest.mark.parametrize("count", [0, 5, -1])
def test_a_size_out_of_range_is_refused(count):
    message = rf"^coreset size: expected a number from 1 to 4 rows, got {count}$"
    with pytest.raises(ConfigError, match=message):
        k_center_greedy(torch.zeros(4, 2), count)


def test_features_without_two_axes_are_refused():
    with pytest.raises(ShapeError, match=r"^features: expected \(v, c\), got \(4, 2, 1\)$"):
        k_center_greedy(torch.zeros(4, 2, 1), 1)
