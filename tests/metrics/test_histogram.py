"""Pixel metrics from a histogram: within their error bound of the exact ones, in bounded memory."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn.functional import interpolate

from fsad.errors import RunError, ShapeError
from fsad.functional.scoring import blur
from fsad.metrics.anomaly import Evaluation
from fsad.metrics.bins import BINS, AdaptiveBins, keys_of
from fsad.metrics.histogram import ScoreHistogram
from fsad.metrics.masks import number_regions
from fsad.metrics.pixels import Pixels
from fsad.metrics.pro import LIMITS, area_to, pro_curve

N, SIZE = 6, 96
ULP = 2.0**-24  # between floats just below 1
SMALLEST = 2.0**-149  # float32 above 0


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def ground_truth(n=N, size=SIZE):
    """Return masks with regions of several sizes, and parts."""
    masks = torch.zeros(n, size, size, dtype=torch.bool)
    masks[::2, 20:41, 30:37] = True
    masks[1, 50:57, 10:50] = True
    masks[1, 60, 60] = True
    random = torch.rand(3, n, 1, 1, generator=torch.Generator().manual_seed(1))
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    y, x = (size / 2 + size / 8 * (random[:2] - 0.5)).unbind()
    distance = ((rows - y) ** 2 + (columns - x) ** 2).sqrt()
    return masks, distance < size / 4 + size / 5 * random[2]


def histogram_of(maps, masks, parts, batch=N):
    histogram = ScoreHistogram()
    for rows in torch.arange(len(maps)).split(batch):
        histogram.update(maps[rows], Pixels.of(masks[rows], parts[rows]))
    return histogram


def measured(histogram):
    """Return all numbers with their bounds."""
    return {
        "pixel_auroc": histogram.auroc(),
        "pixel_auroc_part": histogram.auroc(on_part=True),
        **{metric: histogram.aupro(limit) for metric, limit in LIMITS.items()},
    }


def exactly(maps, masks, parts):
    """Return the same numbers by scikit-learn and by the sorted curve, both in float64."""
    curve = pro_curve(maps, number_regions(masks))
    return {
        "pixel_auroc": roc_auc_score(masks.flatten(), maps.double().flatten()),
        "pixel_auroc_part": roc_auc_score(masks[parts], maps.double()[parts]),
        **{metric: area_to(limit, *curve) for metric, limit in LIMITS.items()},
    }


def noise(generator, *, rise=1.0):
    """Return normal noise, higher on the anomalous pixels, and its ground truth."""
    masks, parts = ground_truth()
    return torch.randn(N, SIZE, SIZE, generator=generator) + rise * masks, masks, parts


def realistic(generator, n=24, size=112):
    """Return smooth maps made of coarse patch scores, and their ground truth."""
    masks, parts = ground_truth(n, size)
    coarse = interpolate(masks[:, None].float(), scale_factor=1 / 8, mode="area")
    coarse = 20 + 3 * torch.randn(coarse.shape, generator=generator).abs() + 4 * coarse
    maps = interpolate(coarse, size=(size, size), mode="bilinear")[:, 0]
    return blur(maps, 4.0), masks, parts


def saturated(generator):
    """Return scores that rounding scatters over some floats around 1, and a tail down to 1e-12."""
    scores, masks, _ = noise(generator)
    tail = 10 ** (-12 * torch.rand(scores.shape, generator=generator))
    steps = torch.randint(-8, 3, scores.shape, generator=generator) + 3 * masks
    near = torch.rand(scores.shape, generator=generator) < 0.7
    return torch.where(near, 1 + ULP * steps, tail)


def within_one_bin(generator):
    """Return scores of which nine in ten are told apart by less than a bin, and a few far apart."""
    scores, _, _ = noise(generator)
    far = torch.randn(scores.shape, generator=generator)
    far = far.sign() * 10 ** (far.abs() * 30 - 35).clamp(max=38)
    few = torch.rand(scores.shape, generator=generator) < 0.1
    return torch.where(few, far, 5 + 1e-6 * scores)


ADVERSARIAL = {
    "normal": lambda generator: noise(generator)[0],
    "negative": lambda generator: noise(generator)[0] - 500,
    "constant": lambda _: torch.full((N, SIZE, SIZE), 27.0),
    "zeros of both signs": lambda generator: 0.0 * noise(generator)[0],
    "two values": lambda generator: (noise(generator)[0] > 1).float(),
    "denormal": lambda generator: (noise(generator)[0] * 1000).round() * SMALLEST,
    "all magnitudes": lambda generator: (noise(generator)[0] * 25).clamp(-126, 127).exp2(),
    "all magnitudes, both signs": lambda generator: noise(generator)[0] ** 31,
    "the largest floats": lambda generator: (noise(generator)[0] / 8).tanh() * 3.4e38,
    "saturated": saturated,
    "within one bin": within_one_bin,
}


@pytest.mark.parametrize("batch", [1, N])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_error_is_within_its_bound(generator, name, batch):
    maps = ADVERSARIAL[name](generator)
    masks, parts = ground_truth()
    assert maps.dtype == torch.float32
    exact = exactly(maps, masks, parts)
    for metric, (value, error) in measured(histogram_of(maps, masks, parts, batch)).items():
        assert abs(value - exact[metric]) <= error + 1e-12, metric  # 1e-12: float64 sums
        assert 0 <= value <= 1


def test_where_one_bin_holds_almost_all_scores_the_bound_says_so(generator):
    histogram = histogram_of(within_one_bin(generator), *ground_truth())
    assert histogram.auroc().error > 0.1


@pytest.mark.parametrize("seed", range(20))
def test_the_error_of_few_pixels_is_within_its_bound(seed):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.tensor([[[True, False, False], [False, False, True]]])
    maps = torch.randn(1, 2, 3, generator=generator) * 10.0 ** (seed - 10)
    exact = exactly(maps, masks, torch.ones_like(masks))
    for metric, (value, error) in measured(
        histogram_of(maps, masks, torch.ones_like(masks))
    ).items():
        assert value == pytest.approx(exact[metric], abs=1e-12)
        assert error <= 1e-12


@pytest.mark.parametrize("name", ["constant", "zeros of both signs", "two values", "denormal"])
def test_a_few_thousand_scores_that_repeat_have_no_error(generator, name):
    histogram = histogram_of(ADVERSARIAL[name](generator), *ground_truth())
    assert histogram.auroc().error == 0
    assert histogram.auroc(on_part=True).error == 0
    assert histogram.aupro(0.3).error < 1e-9  # the rounding of the weights


def test_realistic_maps_differ_from_the_exact_way_by_less_than_1e_5(generator):
    maps, masks, parts = realistic(generator)
    scored = {
        "fused": (maps.amax((1, 2)), maps),
        "part_mask": (torch.ones(len(maps)), blur(parts.float(), 4.0)),
    }
    binned, exact = Evaluation(list(scored)), Evaluation(list(scored), exact=True)
    for evaluation in (binned, exact):
        evaluation.update(masks.flatten(1).any(1), masks, parts, scored)
    expected = exact.compute()
    for name, numbers in binned.compute().items():
        for metric, value in numbers.items():
            assert value == pytest.approx(expected[name][metric], abs=1e-5), (name, metric)
            assert binned.bounds[name][metric] < 1e-3, (name, metric)
    assert binned.bounds["fused"]["image_auroc"] == 0


def test_scores_that_saturate_are_told_apart_however_wide_the_bins(generator):
    maps = saturated(generator)
    masks, parts = ground_truth()
    histogram = histogram_of(maps, masks, parts)
    exact = exactly(maps, masks, parts)
    near = (maps > 1 - 2.0**-12) & (maps < 1 + 2.0**-12)
    bins, _ = AdaptiveBins().place(keys_of(maps.flatten()))
    assert len(np.unique(bins[near.flatten().numpy()])) <= 3  # without the levels at the top
    for metric, (value, error) in measured(histogram).items():
        assert value == pytest.approx(exact[metric], abs=1e-5), metric
        assert error < 1e-3, metric


def test_exactly_equal_scores_have_no_error_however_wide_the_bins(generator):
    # Half of all pixels score exactly 0.3, the rest is spread over all magnitudes.
    scores, masks, parts = noise(generator)
    wide = (25 * scores).clamp(-126, 127).exp2()
    tied = torch.rand(scores.shape, generator=generator) < 0.5
    wide[(wide > 0.29) & (wide < 0.31)] = 0.28
    with_ties = histogram_of(torch.where(tied, 0.3, wide), masks, parts)
    assert with_ties.auroc().error < 1e-4


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_order_and_batches_change_nothing(generator, name):
    maps = ADVERSARIAL[name](generator)
    masks, parts = ground_truth()
    whole = measured(histogram_of(maps, masks, parts))
    shuffled = torch.randperm(N, generator=generator)
    for order, batch in [(torch.arange(N), 1), (shuffled, 4), (shuffled.flip(0), 1)]:
        assert measured(histogram_of(maps[order], masks[order], parts[order], batch)) == whole


def test_order_changes_nothing_when_the_highest_score_rises_step_by_step(generator):
    maps, masks, parts = noise(generator)
    maps = 1 + ULP * (300 * maps).round() + torch.arange(N)[:, None, None] * 2.0**-13
    rising = measured(histogram_of(maps, masks, parts, 1))
    falling = measured(histogram_of(maps.flip(0), masks.flip(0), parts.flip(0), 1))
    assert rising == falling == measured(histogram_of(maps, masks, parts))


def test_an_empty_batch_changes_nothing(generator):
    maps, masks, parts = noise(generator)
    histogram = histogram_of(maps, masks, parts)
    before = measured(histogram)
    histogram.update(maps[:0], Pixels.of(masks[:0], parts[:0]))
    assert measured(histogram) == before


@pytest.mark.parametrize("factor", [2.0**-90, 0.5, 2.0**60])
def test_multiplying_positive_scores_by_a_power_of_two_changes_nothing(generator, factor):
    scores, masks, parts = noise(generator)
    maps = scores.exp()
    before = measured(histogram_of(maps, masks, parts, 2))
    assert before["pixel_auroc"].error > 0  # bins of several scores
    assert measured(histogram_of(maps * factor, masks, parts, 2)) == before


def test_state_does_not_grow_with_the_number_of_images(generator):
    masks, parts = ground_truth()
    histogram = ScoreHistogram()
    sizes = []
    for _ in range(100):
        maps = 1 + torch.rand(N, SIZE, SIZE, generator=generator)
        histogram.update(maps, Pixels.of(masks, parts))
        sizes.append(histogram.nbytes)
    assert sizes[99] == sizes[9]


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_four_sets_take_less_than_16_megabytes(generator, name):
    histogram = histogram_of(ADVERSARIAL[name](generator), *ground_truth(), batch=1)
    kept = sum(
        value.nbytes
        for part in (
            histogram,
            histogram._bins,
            histogram._counts,
            *histogram._top._levels.values(),
        )
        for value in vars(part).values()
        if isinstance(value, np.ndarray)
    )
    assert histogram.nbytes == kept
    assert 4 * kept < 16e6


def test_keys_have_the_order_of_the_scores():
    largest = torch.finfo(torch.float32).max
    scores = torch.tensor([-largest, -2.5, -1.0, -1e-30, -SMALLEST, 0.0, SMALLEST, 1.0, largest])
    assert (np.diff(keys_of(scores).astype(np.int64)) > 0).all()
    assert keys_of(torch.tensor([-0.0])) == keys_of(torch.tensor([0.0])) == 0


def test_keys_count_the_floats_between_scores():
    one = torch.tensor([1.0])
    assert keys_of(torch.nextafter(one, 2 * one)) - keys_of(one) == 1
    assert keys_of(torch.nextafter(-one, -2 * one)) - keys_of(-one) == -1


def parts_of(keys, generator, count):
    """Shuffle keys and split them."""
    order = torch.randperm(len(keys), generator=generator).numpy()
    return np.array_split(keys[order], count)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_ascending_scores_lie_in_ascending_bins(generator, name):
    keys = np.sort(keys_of(ADVERSARIAL[name](generator).flatten()))
    bins = AdaptiveBins()
    for part in parts_of(keys, generator, 6):
        bins.place(part)
    places, moved = bins.place(keys)
    order = bins.ascending()
    assert moved is None
    assert len(order) <= BINS
    rank = np.empty(BINS, dtype=int)
    rank[order] = np.arange(len(order))
    assert (np.diff(rank[places]) >= 0).all()


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_earlier_scores_lie_where_their_bins_moved(generator, name):
    first, *others = parts_of(keys_of(ADVERSARIAL[name](generator).flatten()), generator, 50)
    bins = AdaptiveBins()
    places, _ = bins.place(first)
    for part in others:
        _, moved = bins.place(part)
        places = places if moved is None else moved[places]
    assert (places == bins.place(first)[0]).all()


def test_bins_hold_one_float_each_while_they_suffice():
    bins = AdaptiveBins()
    places, _ = bins.place(keys_of(1 + 2 * ULP * torch.arange(BINS)))
    assert bins.shift == 0
    assert len(np.unique(places)) == BINS


def test_the_width_of_the_bins_depends_on_the_scores_alone(generator):
    keys = keys_of(noise(generator)[0].flatten())
    shifts = set()
    for count in (1, 3, 100):
        bins = AdaptiveBins()
        for part in parts_of(keys, generator, count):
            bins.place(part)
        shifts.add(bins.shift)
    assert len(shifts) == 1
    assert shifts.pop() > 0


def test_maps_of_another_size_than_the_truth_are_refused():
    masks, parts = ground_truth()
    pixels = Pixels.of(masks, parts)
    message = rf"scores: expected \(p,\) with p={N * SIZE**2}, got \({N * SIZE},\)"
    with pytest.raises(ShapeError, match=message):
        ScoreHistogram().update(torch.zeros(N, SIZE, 1), pixels)


def test_measuring_nothing_is_refused():
    message = "histogram: expected anomalous and normal pixels, got one kind alone or none"
    with pytest.raises(RunError, match=message):
        ScoreHistogram().auroc()


@pytest.mark.parametrize("anomalous", [False, True])
def test_measuring_pixels_of_one_kind_is_refused(generator, anomalous):
    maps, masks, parts = noise(generator)
    histogram = histogram_of(maps, torch.full_like(masks, anomalous), parts)
    message = "histogram: expected anomalous and normal pixels, got one kind alone or none"
    with pytest.raises(RunError, match=message):
        histogram.auroc()
    with pytest.raises(RunError, match=message):
        histogram.aupro(0.3)
