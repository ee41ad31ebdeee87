"""The five numbers of a scored set against scikit-learn, whatever the batching and the scale."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from fsad.errors import ConfigError, DataError, NonFiniteError, ShapeError
from fsad.metrics import METRICS
from fsad.metrics.anomaly import Evaluation
from fsad.metrics.masks import dilate, number_regions
from fsad.metrics.pro import area_to, pro_curve

N, SIZE = 11, 32


def images(seed=0, scale=1.0, shift=0.0):
    """Return labels, masks, parts, image scores and maps of eleven images."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(N) % 3 != 0
    masks = torch.zeros(N, SIZE, SIZE, dtype=torch.bool)
    masks[labels, 8:14, 10:15] = True
    masks[1, 30, 30] = True  # a defect far from the part
    parts = torch.zeros_like(masks)
    parts[:, 10:20, 10:20] = True
    maps = torch.randn(N, SIZE, SIZE, generator=generator) + masks
    scores = torch.randn(N, generator=generator) + labels
    return labels, masks, parts, scale * scores + shift, scale * maps + shift


@pytest.fixture(params=[False, True], ids=["histogram", "exact"])
def exact(request):
    """Every sentence holds for both ways to measure pixels."""
    return request.param


@pytest.fixture
def evaluate(exact):
    """``evaluate(labels, masks, parts, scores, maps)``: the evaluation, its numbers computed."""

    def run(labels, masks, parts, scores, maps, batch=N, margin=6):
        evaluation = Evaluation(["fused"], margin, exact=exact)
        for rows in torch.arange(len(labels)).split(batch):
            scored = {"fused": (scores[rows], maps[rows])}
            evaluation.update(labels[rows], masks[rows], parts[rows], scored)
        return evaluation, evaluation.compute()["fused"]

    return run


@pytest.fixture
def measure(evaluate):
    """``measure(labels, masks, parts, scores, maps)``: the numbers, and why some are undefined."""

    def run(*images, **settings):
        evaluation, numbers = evaluate(*images, **settings)
        return numbers, evaluation.undefined

    return run


def assert_within_bounds(numbers, expected, bounds):
    """Compare; 1e-6 is for the exact way's arithmetic in float32, which has bounds of 0."""
    for metric, value in expected.items():
        assert numbers[metric] == pytest.approx(value, abs=1e-6 + bounds[metric]), metric


@pytest.mark.parametrize("batch", [1, 4, N])
@pytest.mark.parametrize(
    ("scale", "shift"),
    [(1.0, 27.0), (1e6, 0.0), (1.0, -500.0), (1e-4, 0.5)],
    ids=["around 27", "a million", "negative", "within 0 and 1"],
)
def test_auroc_equals_scikit_learn_whatever_the_batching_and_the_scale(
    evaluate, exact, batch, scale, shift
):
    labels, masks, parts, scores, maps = images(scale=scale, shift=shift)
    evaluation, numbers = evaluate(labels, masks, parts, scores, maps, batch=batch)
    near = dilate(parts, 6)
    assert near.sum() > parts.sum()
    assert (masks & ~near).any()
    curve = pro_curve(maps, number_regions(masks))  # itself measured by brute force in test_pro.py
    expected = {
        "image_auroc": roc_auc_score(labels, scores),
        "pixel_auroc": roc_auc_score(masks.flatten(), maps.flatten()),
        "pixel_auroc_part": roc_auc_score(masks[near], maps[near]),
        "aupro30": area_to(0.3, *curve),
        "aupro05": area_to(0.05, *curve),
    }
    bounds = evaluation.bounds["fused"]
    assert_within_bounds(numbers, expected, bounds)
    assert numbers == pytest.approx(expected, abs=1e-6 if exact else 1e-5)
    assert set(bounds) == set(METRICS)
    assert max(bounds.values()) < (1e-15 if exact else 1e-3)
    assert tuple(numbers) == METRICS
    assert evaluation.undefined == {}


def test_the_margin_decides_which_pixels_belong_to_the_part(evaluate):
    labels, masks, parts, scores, maps = images()
    evaluation, numbers = evaluate(labels, masks, parts, scores, maps, margin=0)
    expected = {"pixel_auroc_part": roc_auc_score(masks[parts], maps[parts])}
    assert_within_bounds(numbers, expected, evaluation.bounds["fused"])


@pytest.mark.parametrize("increasing", [torch.exp, lambda x: 3 * x + 1e3, lambda x: x**3])
def test_an_increasing_function_of_the_scores_changes_nothing(measure, increasing):
    # Few levels: no two of them fall together where float32 is coarse.
    labels, masks, parts, scores, maps = images()
    scores, maps = (scores * 4).round() / 4, (maps * 4).round() / 4
    before, _ = measure(labels, masks, parts, scores, maps)
    after, _ = measure(labels, masks, parts, increasing(scores), increasing(maps))
    assert after == before


def test_flipping_the_labels_gives_one_minus_the_auroc(measure):
    labels, masks, parts, scores, maps = images()
    one, _ = measure(labels, masks, parts, scores, maps)
    other, _ = measure(~labels, ~masks, parts, scores, maps)
    for metric in ("image_auroc", "pixel_auroc", "pixel_auroc_part"):
        assert one[metric] + other[metric] == pytest.approx(1, abs=1e-6)


def test_every_scored_set_is_measured_as_if_it_were_alone(measure, exact):
    labels, masks, parts, scores, maps = images()
    sets = {"fused": (scores, maps), "source_only": (-scores, maps**2)}
    evaluation = Evaluation(list(sets), exact=exact)
    evaluation.update(labels, masks, parts, sets)
    results = evaluation.compute()
    for name, (image_scores, set_maps) in sets.items():
        assert results[name] == measure(labels, masks, parts, image_scores, set_maps)[0]
    assert results["fused"] != results["source_only"]


def test_good_images_alone_leave_every_number_undefined_with_its_reason(measure):
    labels, masks, parts, scores, maps = images()
    good = ~labels
    numbers, undefined = measure(labels[good], masks[good], parts[good], scores[good], maps[good])
    assert numbers == dict.fromkeys(METRICS)
    assert undefined == dict.fromkeys(METRICS, "no test image is defective")


def test_defective_images_alone_still_have_pixel_numbers(measure):
    labels, masks, parts, scores, maps = images()
    numbers, undefined = measure(*(x[labels] for x in (labels, masks, parts, scores, maps)))
    assert numbers["image_auroc"] is None
    assert undefined == {"image_auroc": "no test image is good"}
    assert None not in [numbers[metric] for metric in METRICS[1:]]


def test_without_a_part_only_the_number_on_the_part_is_undefined(measure):
    labels, masks, parts, scores, maps = images()
    numbers, undefined = measure(labels, masks, torch.zeros_like(parts), scores, maps)
    assert undefined == {"pixel_auroc_part": "there is no test pixel on the part"}
    assert numbers["pixel_auroc_part"] is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_cannot_be_ranked_are_refused(exact, bad):
    labels, masks, parts, scores, maps = images()
    evaluation = Evaluation(["fused"], exact=exact)
    scores_bad, maps_bad = scores.clone(), maps.clone()
    scores_bad[3] = bad
    maps_bad[3, 1, 2] = bad
    message = "fused image scores: expected finite scores, got 1 NaN or infinite of 11"
    with pytest.raises(NonFiniteError, match=message):
        evaluation.update(labels, masks, parts, {"fused": (scores_bad, maps)})
    message = "fused maps: expected finite scores, got 1 NaN or infinite of 11264"
    with pytest.raises(NonFiniteError, match=message):
        evaluation.update(labels, masks, parts, {"fused": (scores, maps_bad)})


def test_other_sets_than_announced_are_refused(exact):
    labels, masks, parts, scores, maps = images()
    evaluation = Evaluation(["fused", "part_mask"], exact=exact)
    with pytest.raises(ConfigError, match="scored: expected fused, part_mask, got fused"):
        evaluation.update(labels, masks, parts, {"fused": (scores, maps)})


def test_batches_of_another_image_size_are_refused(exact):
    labels, masks, parts, scores, maps = images()
    evaluation = Evaluation(["fused"], exact=exact)
    evaluation.update(labels, masks, parts, {"fused": (scores, maps)})
    message = r"masks: expected \(n, H, W\) with n=11, H=32, W=32, got \(11, 31, 32\)"
    with pytest.raises(ShapeError, match=message):
        evaluation.update(labels, masks[:, 1:], parts, {"fused": (scores, maps)})


def test_soft_parts_are_refused(exact):
    labels, masks, parts, scores, maps = images()
    with pytest.raises(DataError, match=r"parts: expected dtype torch.bool, got torch.float32"):
        Evaluation(["fused"], exact=exact).update(
            labels, masks, parts.float(), {"fused": (scores, maps)}
        )


def test_without_images_every_number_is_undefined_and_that_is_said_once(exact, caplog):
    evaluation = Evaluation(["fused"], exact=exact)
    assert evaluation.compute() == {"fused": dict.fromkeys(METRICS)}
    assert evaluation.undefined == dict.fromkeys(METRICS, "there is no test image")
    assert caplog.text.count("there is no test image") == 1


def test_a_defective_image_without_a_mask_leaves_the_pixel_numbers_undefined(exact):
    labels, masks, parts, scores, maps = images()
    masked = torch.ones_like(labels)
    masked[labels.nonzero()[0]] = False
    evaluation = Evaluation(["fused"], exact=exact)
    evaluation.update(labels, masks, parts, {"fused": (scores, maps)}, masked)
    numbers = evaluation.compute()["fused"]
    reason = f"1 of {int(labels.sum())} defective test images has no mask"
    assert evaluation.undefined == dict.fromkeys(METRICS[1:], reason)
    assert [metric for metric in METRICS if numbers[metric] is not None] == ["image_auroc"]


@pytest.mark.parametrize("batch", [1, 4, N])
def test_an_empty_mask_of_a_defective_image_says_no_more_than_none(exact, batch):
    labels, masks, parts, scores, maps = images()
    masked = torch.ones_like(labels)
    masks[[1, 4, 5]] = False
    masked[[1, 5]] = False
    evaluation = Evaluation(["fused"], exact=exact)
    for rows in torch.arange(N).split(batch):
        scored = {"fused": (scores[rows], maps[rows])}
        evaluation.update(labels[rows], masks[rows], parts[rows], scored, masked[rows])
    numbers = evaluation.compute()["fused"]
    reason = (
        "2 of 7 defective test images have no mask, 1 of 7 defective test images has an empty mask"
    )
    assert evaluation.undefined == dict.fromkeys(METRICS[1:], reason)
    assert numbers["image_auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)


def test_a_negative_margin_is_refused():
    with pytest.raises(ConfigError, match="margin: expected a whole number of at least 0, got -1"):
        Evaluation(["fused"], margin=-1)


def test_anything_but_true_or_false_for_exact_is_refused():
    with pytest.raises(ConfigError, match="exact: expected true or false, got 'yes'"):
        Evaluation(["fused"], exact="yes")
