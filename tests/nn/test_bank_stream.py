import math

import pytest
import torch
from torch.testing import assert_close

from fsad.errors import BankError, ConfigError, NonFiniteError, ShapeError
from fsad.functional.coreset import k_center_greedy
from fsad.nn import bank_stream
from fsad.nn.bank_stream import BankStream
from fsad.nn.memory_bank import MemoryBank

SPLITS = [[300], [1] * 300, [7, 0, 93, 150, 50], [299, 1]]


def streamed(features, ratio, *, batches=None, **options):
    """A stream that has seen the features, one batch unless told otherwise."""
    stream = BankStream("source", ratio, **options)
    for batch in features.split(batches or len(features)):
        stream.add(batch)
    return stream


def bank_of(stream):
    bank = MemoryBank("source")
    stream.fill(bank)
    return bank


def filled_at_once(features, ratio):
    """The bank's definition: z-score every row by scalars, then choose among them."""
    normal = (features - features.mean()) / features.std()
    if ratio < 1:
        normal = normal[k_center_greedy(normal, max(1, math.floor(ratio * len(normal) + 1e-6)))]
    return normal


def cover_radius(features, chosen):
    return torch.cdist(features, chosen).min(dim=1).values.max()


def same(bank, other):
    return all(torch.equal(getattr(bank, n), getattr(other, n)) for n in ("rows", "mean", "std"))


@pytest.fixture
def features(normal):
    return 3 * normal(300, 4) + 5


@pytest.fixture
def clustered(normal, generator):
    """900 rows in 12 clusters, and the largest distance of a row to its cluster's centre."""
    gaps = normal(900, 4)
    gaps /= gaps.norm(dim=1, keepdim=True).clamp_min(1)
    centres = 30 * normal(12, 4)
    return centres[torch.randint(12, (900,), generator=generator)] + gaps, 1.0


@pytest.mark.parametrize("ratio", [0.001, 0.1, 0.29, 0.999, 1.0])
@pytest.mark.parametrize("batches", [17, 300])
def test_the_bank_is_the_coreset_of_all_rows_z_scored_by_scalars(features, ratio, batches):
    bank = bank_of(streamed(features, ratio, batches=batches))
    assert_close(bank.rows, filled_at_once(features, ratio))
    assert_close(bank.mean, features.mean())
    assert_close(bank.std, features.std())


@pytest.mark.parametrize(
    ("ratio", "rows", "kept"), [(0.29, 100, 29), (0.1, 9, 1), (0.1, 19, 1), (1.0, 7, 7)]
)
def test_the_share_is_rounded_down_to_at_least_one_row(normal, ratio, rows, kept):
    stream = streamed(normal(rows, 3), ratio)
    assert stream.count == kept
    assert len(bank_of(stream).rows) == kept


@pytest.mark.parametrize("max_rows", [None, 20, 200])
@pytest.mark.parametrize("split", SPLITS[1:], ids=["ones", "mixed", "one more"])
def test_how_the_rows_are_split_into_batches_changes_no_bit(features, monkeypatch, max_rows, split):
    monkeypatch.setattr(bank_stream, "CHUNK", 64)
    features = features.float()
    once = streamed(features, 0.1, max_rows=max_rows)
    stream = BankStream("source", 0.1, max_rows=max_rows)
    for batch in features.split(split):
        stream.add(batch)
        stream.statistics()  # nor does looking in between
    assert same(bank_of(stream), bank_of(once))


@pytest.mark.parametrize("expected_rows", [1, 299, 300, 1000])
@pytest.mark.parametrize("max_rows", [None, 20])
def test_a_right_or_wrong_expectation_changes_no_bit(features, expected_rows, max_rows):
    bank = bank_of(streamed(features, 0.1, batches=17, max_rows=max_rows))
    options = {"max_rows": max_rows, "expected_rows": expected_rows}
    assert same(bank, bank_of(streamed(features, 0.1, batches=17, **options)))


def test_a_right_expectation_spares_moving_rows(features, largest_result):
    stream = BankStream("source", 0.1, expected_rows=300)
    first, *rest = features.split(10)
    stream.add(first)
    with largest_result:
        for batch in rest:
            stream.add(batch)
    assert largest_result.numel <= 10 * 4


@pytest.mark.parametrize("ratio", [0.1, 1.0])
@pytest.mark.parametrize("max_rows", [300, 5000])
def test_a_cap_that_is_never_exceeded_changes_no_bit(features, ratio, max_rows):
    capped = streamed(features, ratio, batches=17, max_rows=max_rows)
    assert capped.reductions == 0
    assert same(bank_of(capped), bank_of(streamed(features, ratio, batches=17)))


@pytest.mark.parametrize("max_rows", [150, 299])
def test_up_to_twice_the_cap_the_bank_is_the_coreset_of_every_row(features, max_rows):
    bank = bank_of(streamed(features, 1.0, batches=17, max_rows=max_rows))
    normal = (features - features.mean()) / features.std()
    assert_close(bank.rows, normal[k_center_greedy(normal, max_rows)])


@pytest.mark.parametrize("max_rows", [3, 20, 149])
def test_no_more_than_twice_the_cap_is_ever_held_nor_taken_for_a_reduction(
    normal, largest_result, max_rows
):
    features = normal(300, 150)
    stream = BankStream("source", 1.0, max_rows=max_rows)
    with largest_result:
        for batch in features.split(5):
            stream.add(batch)
            assert stream.held <= 2 * max_rows
    assert largest_result.numel <= 2 * max_rows * 150
    assert stream.seen == 300
    assert stream.reductions == math.ceil((300 - 2 * max_rows) / max_rows)
    assert len(bank_of(stream).rows) == stream.count == max_rows


@pytest.mark.parametrize(("ratio", "kept"), [(0.01, 3), (0.1, 20), (1.0, 20)])
def test_the_bank_has_the_share_of_all_rows_seen_or_the_cap(features, ratio, kept):
    stream = streamed(features, ratio, batches=17, max_rows=20)
    assert stream.count == kept
    assert len(bank_of(stream).rows) == kept


@pytest.mark.parametrize("max_rows", [None, 1, 20, 150])
@pytest.mark.parametrize("batches", [1, 17, 300])
def test_mean_and_deviation_are_those_of_every_row_seen(features, monkeypatch, max_rows, batches):
    monkeypatch.setattr(bank_stream, "CHUNK", 64)
    mean, std = streamed(features, 0.1, batches=batches, max_rows=max_rows).statistics()
    assert_close(mean, features.mean(), rtol=1e-12, atol=0)
    assert_close(std, features.std(), rtol=1e-12, atol=0)


def test_mean_and_deviation_in_float32_far_from_the_origin_keep_six_digits(features):
    far = (features + 1e4).float()
    mean, std = streamed(far, 0.1, batches=17, max_rows=20).statistics()
    assert mean.dtype == std.dtype == torch.float64
    assert_close(mean, far.double().mean(), rtol=1e-6, atol=0)
    assert_close(std, far.double().std(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("max_rows", [1, 20, 100])
@pytest.mark.parametrize("chunk", [1, 3, 4096])
def test_a_capped_bank_is_what_reducing_full_lists_of_rows_gives(
    features, monkeypatch, max_rows, chunk
):
    monkeypatch.setattr(bank_stream, "CHUNK", chunk)
    held = []
    for row in features:
        if len(held) == 2 * max_rows:
            picks = k_center_greedy(torch.stack(held), max_rows)
            held = [held[pick] for pick in sorted(picks.tolist())]
        held.append(row)
    rows = torch.stack(held)[k_center_greedy(torch.stack(held), max_rows)]
    bank = bank_of(streamed(features, 1.0, batches=17, max_rows=max_rows))
    assert_close(bank.rows, (rows - features.mean()) / features.std())


@pytest.mark.parametrize("max_rows", [12, 40, 100])
def test_a_capped_bank_covers_clusters_within_the_sum_of_the_radii(clustered, max_rows):
    features, radius = clustered
    stream = streamed(features, 1.0, batches=50, max_rows=max_rows)
    bank = bank_of(stream)
    found = cover_radius(features, bank.rows * bank.std + bank.mean)
    # 12 points cover every row within the radius, so the best of max_rows points do.
    assert found <= (stream.reductions + 1) * 2 * radius


@pytest.mark.parametrize("max_rows", [12, 40, 100])
def test_a_capped_bank_misses_no_cluster(normal, generator, max_rows):
    which = torch.randint(12, (900,), generator=generator)
    features = 100 * torch.eye(12, dtype=torch.float64)[which] + normal(900, 12)
    bank = bank_of(streamed(features, 1.0, batches=50, max_rows=max_rows))
    hit = (bank.rows * bank.std + bank.mean).argmax(dim=1)
    assert torch.equal(hit.unique(), torch.arange(12))


@pytest.mark.parametrize("ratio", [0.1, 1.0])
def test_filling_leaves_stream_and_features_as_they_are(features, ratio):
    before = features.clone()
    stream = streamed(features[:200], ratio, max_rows=20)
    first, again = bank_of(stream), bank_of(stream)
    assert same(first, again)
    stream.add(features[200:])
    assert same(bank_of(stream), bank_of(streamed(features, ratio, max_rows=20)))
    assert torch.equal(features, before)


def test_a_bank_keeps_the_dtype_of_the_features(features):
    bank = bank_of(streamed(features.float(), 0.1))
    assert bank.rows.dtype == bank.mean.dtype == bank.std.dtype == torch.float32


@pytest.mark.parametrize("max_rows", [None, 20])
def test_progress_hears_of_every_row_of_the_bank(features, max_rows):
    heard = []
    stream = streamed(features, 0.05, max_rows=max_rows)
    stream.fill(MemoryBank("source"), heard.append)
    assert heard[-1] == stream.count == 15


def test_a_stream_that_saw_nothing_fills_no_bank():
    stream = BankStream("target", 0.1)
    stream.add(torch.empty(0, 4))
    assert stream.count == 0
    with pytest.raises(BankError, match=r"^bank 'target': expected features to keep, got none$"):
        stream.fill(MemoryBank("target"))


@pytest.mark.parametrize("ratio", [0.1, 1.0])
def test_rows_that_do_not_vary_fill_no_bank(ratio):
    message = r"^bank 'source': expected features that vary, got a standard deviation of 0\.0\. "
    with pytest.raises(BankError, match=message):
        bank_of(streamed(torch.full((50, 4), 0.1), ratio, max_rows=20))


def test_rows_that_are_not_finite_are_refused_when_they_are_reduced():
    features = torch.full((9, 4), float("nan"))
    message = r"^features: expected finite numbers, got NaN or infinity$"
    with pytest.raises(NonFiniteError, match=message):
        streamed(features, 1.0, max_rows=4)


def test_other_channels_than_before_are_refused(features):
    stream = streamed(features, 0.1)
    with pytest.raises(ShapeError, match=r"^features: expected \(b, c\) with c=4, got \(3, 5\)$"):
        stream.add(torch.zeros(3, 5))


def test_maps_are_refused():
    with pytest.raises(ShapeError, match=r"^features: expected \(b, c\), got \(2, 4, 3, 3\)$"):
        BankStream("source", 0.1).add(torch.zeros(2, 4, 3, 3))


@pytest.mark.parametrize("max_rows", [0, -5, 1.5, True, "10"])
def test_a_cap_out_of_range_is_refused(max_rows):
    message = r"^max_rows: expected a whole number of at least 1, got "
    with pytest.raises(ConfigError, match=message + rf"{max_rows!r}$"):
        BankStream("source", 0.1, max_rows=max_rows)


@pytest.mark.parametrize("expected_rows", [0, 1.5])
def test_an_expectation_out_of_range_is_refused(expected_rows):
    message = rf"^expected_rows: expected a whole number of at least 1, got {expected_rows}$"
    with pytest.raises(ConfigError, match=message):
        BankStream("source", 0.1, expected_rows=expected_rows)


@pytest.mark.parametrize("domain", ["source", "target"])
@pytest.mark.parametrize(
    ("ratio", "message"), [(0, "above 0, got 0.0"), (1.1, "in [0, 1], got 1.1")]
)
def test_a_ratio_out_of_range_is_refused(domain, ratio, message):
    with pytest.raises(ConfigError) as caught:
        BankStream(domain, ratio)
    assert str(caught.value) == f"{domain} ratio: expected a number {message}"
