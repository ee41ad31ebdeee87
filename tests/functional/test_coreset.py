import numpy as np
import pytest
import torch

from fsad.errors import ConfigError, NonFiniteError, ShapeError
from fsad.functional import coreset
from fsad.functional.coreset import k_center_greedy

SIZES = [(1, 1, 1, 1), (7, 3, 4, 2), (16, 8, 64, 32)]


@pytest.fixture(params=SIZES, ids=lambda sizes: "-".join(map(str, sizes)))
def sizes(request, monkeypatch):
    """Candidates, rows and picks of a product, and picks of a burst."""
    for name, size in zip(
        ("CANDIDATES", "ROW_CHUNK", "PICK_CHUNK", "CPU_BURST"), request.param, strict=True
    ):
        monkeypatch.setattr(coreset, name, size)


@pytest.fixture
def small_rounds(monkeypatch):
    """Rounds of few candidates, so that few rows take many of them."""
    monkeypatch.setattr(coreset, "CANDIDATES", 8)
    monkeypatch.setattr(coreset, "ROW_CHUNK", 4)
    monkeypatch.setattr(coreset, "PICK_CHUNK", 8)


KINDS = ["normal", "clustered", "duplicated", "constant", "grid", "collinear", "outlier"]


@pytest.fixture(params=KINDS)
def rows(request, normal, generator):
    """40 rows of every kind."""
    which = torch.randint(8, (40,), generator=generator)
    x, y = torch.arange(5.0, dtype=torch.float64), torch.arange(8.0, dtype=torch.float64)
    return {
        "normal": normal(40, 7),
        "clustered": 5 * normal(8, 7)[which] + 0.1 * normal(40, 7),
        "duplicated": normal(8, 7)[which],
        "constant": normal(1, 7).expand(40, 7),
        "grid": torch.cartesian_prod(x, y)[normal(40).argsort()],  # most distances tie
        "collinear": torch.arange(40)[:, None] * torch.tensor([1.0, 2.0, -2.0]),
        "outlier": torch.cat([normal(39, 7), torch.full((1, 7), 1e5, dtype=torch.float64)]),
    }[request.param]


def naive_picks(features, count):
    """The definition: measure every row against every pick, again and again."""
    rows = features.numpy().astype(np.float64)
    picks = [0]
    while len(picks) < count:
        to_nearest = np.linalg.norm(rows[:, None] - rows[picks], axis=2).min(axis=1)
        to_nearest[picks] = -1
        picks.append(int(np.argmax(to_nearest)))
    return torch.tensor(picks)


def to_nearest_pick(features, picks):
    """Distances ``(v,)``; exactly 0 for a pick itself."""
    return (features[:, None] - features[picks]).norm(dim=2).min(dim=1).values


def cover_radius(features, picks):
    """The largest distance of any row to its nearest pick."""
    return to_nearest_pick(features, picks).max()


def radii(features):
    """Cover radius after 1, 2, ... picks, in the order they were made."""
    picks = k_center_greedy(features, len(features))
    return torch.stack([cover_radius(features, picks[:k]) for k in range(1, len(picks) + 1)])


@pytest.fixture
def far_clusters(normal):
    """Float32 whose squares of 1e8 leave nothing of the distances of 1 within two clusters."""
    features = normal(40, 7)
    features[::2] += 1e4
    return features.float()


@pytest.mark.usefixtures("sizes")
class TestWhateverTheSizeOfARound:
    def test_the_picks_equal_the_naive_loop_in_order_ties_included(self, rows):
        assert torch.equal(k_center_greedy(rows, 40), naive_picks(rows, 40))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_the_picks_in_low_precision_equal_the_naive_loop_in_float64(self, normal, dtype):
        features = normal(40, 7).to(dtype)
        assert torch.equal(k_center_greedy(features, 25), naive_picks(features.float(), 25))

    def test_the_picks_in_float32_far_from_the_origin_equal_the_naive_loop(self, normal):
        features = (normal(40, 7) + 1000).float()
        assert torch.equal(k_center_greedy(features, 25), naive_picks(features, 25))

    def test_the_picks_in_float32_from_clusters_far_apart_equal_the_naive_loop(self, far_clusters):
        assert torch.equal(k_center_greedy(far_clusters, 25), naive_picks(far_clusters, 25))

    def test_fewer_picks_are_a_prefix_of_more(self, normal):
        features = normal(40, 7)
        every = k_center_greedy(features, 40)
        for count in (1, 2, 17):
            assert torch.equal(k_center_greedy(features, count), every[:count])

    def test_all_rows_give_a_permutation(self, rows):
        assert torch.equal(k_center_greedy(rows, 40).sort().values, torch.arange(40))


def test_the_cover_radius_never_grows_and_ends_at_0(normal):
    shrinking = radii(normal(40, 7))
    assert (shrinking.diff() <= 0).all()
    assert shrinking[-1] == 0


def test_the_cover_radius_is_within_gonzalezs_factor_of_the_best(normal, monkeypatch):
    monkeypatch.setattr(coreset, "CANDIDATES", 3)
    features = normal(9, 2)  # against every choice of three
    every = torch.combinations(torch.arange(9), 3)
    best = min(cover_radius(features, choice) for choice in every)
    assert cover_radius(features, k_center_greedy(features, 3)) <= 2 * best


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_duplicates_are_picked_after_every_distinct_row_by_index(normal, dtype):
    features = normal(4, 7).repeat(10, 1).to(dtype)
    picks = k_center_greedy(features, 40)
    assert torch.equal(picks[:4].sort().values, torch.arange(4))
    assert torch.equal(picks[4:], torch.arange(4, 40))


@pytest.mark.usefixtures("small_rounds")
def test_k_picks_hit_every_one_of_k_clusters_that_lie_apart(normal, generator):
    which = torch.arange(60) % 6
    which = which[torch.randperm(60, generator=generator)]
    features = 100 * torch.eye(6, dtype=torch.float64)[which] + normal(60, 6)
    picks = k_center_greedy(features, 6)
    assert torch.equal(which[picks].sort().values, torch.arange(6))


@pytest.mark.usefixtures("small_rounds")
def test_no_random_number_is_drawn(normal):
    features, state = normal(64, 7), torch.get_rng_state()
    k_center_greedy(features, 30)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("small_rounds")
@pytest.mark.parametrize("count", [1, 2, 50, 64])
def test_progress_hears_how_many_picks_are_made_up_to_the_last(normal, count):
    heard = []
    k_center_greedy(normal(64, 3), count, progress=heard.append)
    assert heard[0] == 1
    assert heard == sorted(heard)
    assert heard[-1] == count


def test_the_features_are_left_alone(normal):
    features = normal(64, 7)
    before = features.clone()
    k_center_greedy(features, 30)
    assert torch.equal(features, before)


@pytest.mark.usefixtures("small_rounds")
def test_the_largest_temporary_is_the_copy_of_the_picks_not_of_the_features(normal, largest_result):
    features = normal(300, 8)
    with largest_result:
        k_center_greedy(features, 50)
    assert largest_result.numel <= 50 * 8


@pytest.mark.parametrize("count", [0, 5, -1])
def test_a_size_out_of_range_is_refused(count):
    message = rf"^coreset size: expected a number from 1 to 4 rows, got {count}$"
    with pytest.raises(ConfigError, match=message):
        k_center_greedy(torch.zeros(4, 2), count)


@pytest.mark.parametrize("row", [0, 3])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_features_that_are_not_finite_are_refused(row, value):
    features = torch.zeros(4, 2)
    features[row, 1] = value
    message = r"^features: expected finite numbers, got NaN or infinity$"
    with pytest.raises(NonFiniteError, match=message):
        k_center_greedy(features, 2)


def test_features_without_two_axes_are_refused():
    with pytest.raises(ShapeError, match=r"^features: expected \(v, c\), got \(4, 2, 1\)$"):
        k_center_greedy(torch.zeros(4, 2, 1), 1)
