"""Paired differences: closed forms, coverage, and what cannot be compared."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from test_table import PRETRAINED, category

from fsad.errors import ConfigError, DataError
from fsad.metrics import METRICS
from fsad.metrics.bootstrap import interval, ranking
from fsad.report.sections.forest import forest
from fsad.results.record import ScoreRow, write_result, write_scores
from fsad.results.table import collect, compare, write_differences

GOOD, BAD = 12, 18


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_rankings_mean_is_the_auroc_with_ties_counted_half(rng):
    good, bad = rng.integers(0, 6, GOOD) * 1.0, rng.integers(2, 8, BAD) * 1.0
    labels = [0] * GOOD + [1] * BAD
    assert ranking(good, bad).mean() == pytest.approx(roc_auc_score(labels, [*good, *bad]))


def test_no_difference_has_the_interval_0():
    zero = np.zeros((GOOD, BAD))
    assert interval({"a": [zero, zero], "b": [zero, zero]}) == (0.0, 0.0)


def test_a_constant_difference_has_no_width():
    assert interval({"a": [np.full((3, 4), 0.25)] * 2}) == pytest.approx((0.25, 0.25))


def test_resampling_draws_gives_the_standard_error_of_their_mean(rng):
    draws = [np.full((1, 1), value) for value in rng.normal(size=200)]
    low, high = interval({"a": draws}, replicates=20_000)
    error = np.std([float(each[0, 0]) for each in draws], ddof=1) / np.sqrt(200)
    assert (high - low) / 2 == pytest.approx(1.97 * error, rel=0.03)


@pytest.mark.parametrize(("categories", "draws"), [(1, 3), (1, 5), (4, 3), (10, 5)])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(categories, draws):
    covered, widths, trials = 0, [], 300
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        # categories differ among themselves; these are asked about, and their mean is the truth
        truths = 3 * rng.normal(size=categories)
        given = {
            str(i): [np.full((1, 1), truth + rng.normal()) for _ in range(draws)]
            for i, truth in enumerate(truths)
        }
        low, high = interval(given, seed=trial, replicates=500)
        covered += low <= truths.mean() <= high
        widths.append(high - low)
    # a share of 300 has a standard error of 1.3 %; percentiles of few draws are not Student's
    assert 0.89 <= covered / trials <= 0.995
    wanted = 2 * 1.96 / np.sqrt(categories * draws)
    assert np.mean(widths) < (3 if draws * categories < 6 else 1.5) * wanted


def test_images_and_draws_together_cover_the_true_auroc():
    covered, trials = 0, 200
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        good, bad = rng.normal(size=10), rng.normal(size=20)  # of the images, in every draw
        given = [
            ranking(good + 0.3 * rng.normal(size=10), bad + 0.3 * rng.normal(size=20)) - 0.5
            for _ in range(5)
        ]
        low, high = interval({"a": given}, seed=trial, replicates=400)
        covered += low <= 0 <= high
    assert 0.92 <= covered / trials <= 1.0  # too wide where images, not draws, decide


def test_a_single_draw_has_no_interval():
    assert interval({"a": [np.zeros((3, 4))], "b": [np.zeros((2, 2))] * 2}) is None


def test_the_same_seed_gives_the_same_interval(rng):
    draws = {"a": [rng.normal(size=(GOOD, BAD)) for _ in range(3)]}
    assert interval(draws, seed=1) == interval(draws, seed=1)
    assert interval(draws, seed=1) != interval(draws, seed=2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "differences: expected some for every category"),
        ({"a": []}, "differences: expected some for every category"),
        ({"a": [np.zeros((2, 3)), np.zeros((2, 4))]}, "expected the same images in every draw"),
    ],
)
def test_what_cannot_be_resampled_is_refused(given, message):
    with pytest.raises(DataError, match=message):
        interval(given)


def write(folder, method, seed, scores, value, shots=1, backbone=PRETRAINED, digest="", **settings):
    """Write a run of one category: ``scores`` are those of good, then of anomalous images."""
    folder.mkdir(parents=True)
    config = {
        "data": {"shots": shots, "reader": {"_target_": "fsad.data.mvtec3d.MVTec3D"}},
        "backbone": {"name": backbone["name"]},
        "method": {"stages": {}} | settings,
    }
    result = category(value)
    labels = [False] * GOOD + [True] * BAD
    auroc = roc_auc_score(labels, scores)
    fused = {**result.fused, "image_auroc": auroc}
    result = replace(result, fused=fused, test_digest=digest)
    write_result(folder / "result.json", method, seed, config, backbone, {"bagel": result}, {})
    rows = [
        ScoreRow("bagel", f"{i:03d}.tiff", label, "bent" if label else "good", score, {})
        for i, (label, score) in enumerate(zip(labels, scores, strict=True))
    ]
    write_scores(folder / "scores.csv", rows)
    return auroc


def two_methods(folder, rng, seeds=3, gain=0.0):
    aurocs = []
    for seed in range(seeds):
        theirs = rng.normal(size=GOOD + BAD) + np.repeat([0.0, 1.0], [GOOD, BAD])
        ours = (
            theirs + gain * np.repeat([0.0, 1.0], [GOOD, BAD]) + 0.1 * rng.normal(size=len(theirs))
        )
        pair = [
            write(folder / f"{name}{seed}", name, seed, list(scores), value)
            for name, scores, value in (("ours", ours, 0.7 + gain), ("theirs", theirs, 0.7))
        ]
        aurocs.append(pair[0] - pair[1])
    return float(np.mean(aurocs))


def test_the_difference_is_the_mean_of_the_pairs(tmp_path, rng):
    expected = two_methods(tmp_path, rng)
    found = {each.metric: each for each in compare(collect([tmp_path]), "theirs").differences}
    assert set(found) == set(METRICS)
    image = found["image_auroc"]
    assert image.mean == pytest.approx(expected)
    assert image.interval[0] <= image.mean <= image.interval[1]
    assert (image.cells, image.images, image.labels["method"]) == (3, GOOD + BAD, "ours")
    assert found["pixel_auroc"].mean == pytest.approx(0.0)


def test_noise_is_put_down_to_chance_and_a_gain_is_not(tmp_path, rng):
    two_methods(tmp_path / "noise", rng)
    two_methods(tmp_path / "gain", rng, gain=2.0)
    for name, clear in (("noise", False), ("gain", True)):
        comparison = compare(collect([tmp_path / name]), "theirs")
        assert comparison.differences[0].metric == "image_auroc"
        assert comparison.differences[0].is_clear is clear
        text = write_differences(tmp_path / name, comparison).read_text()
        assert ("not statistically significant in image_auroc" in text) is not clear


def test_one_draw_alone_is_never_called_clear(tmp_path, rng):
    two_methods(tmp_path, rng, seeds=1, gain=3.0)
    comparison = compare(collect([tmp_path]), "theirs")
    assert not any(each.is_clear for each in comparison.differences)
    assert "[?]" in write_differences(tmp_path / "t.md", comparison).read_text()
    assert (tmp_path / "t-differences.md").is_file()


def test_a_data_set_and_its_prepared_copy_are_not_compared(tmp_path, rng):
    scores = list(rng.normal(size=GOOD + BAD))
    write(tmp_path / "theirs", "theirs", 0, scores, 0.5, digest="raw")
    write(tmp_path / "unknown", "older", 0, scores, 0.5)
    assert compare(collect([tmp_path]), "theirs").differences
    write(tmp_path / "ours", "ours", 0, scores, 0.5, digest="prepared")
    with pytest.raises(DataError, match=r"expected the test images .*other content\. Do not"):
        compare(collect([tmp_path]), "theirs")


def test_two_variants_of_a_method_are_two_lines(tmp_path, rng):
    scores = list(rng.normal(size=GOOD + BAD))
    for seed in (0, 1):
        write(tmp_path / f"theirs{seed}", "theirs", seed, scores, 0.5)
        for ratio in (0.1, 1.0):
            write(tmp_path / f"{ratio}-{seed}", "ours", seed, scores, 0.5 + ratio / 10, ratio=ratio)
    comparison = compare(collect([tmp_path]), "theirs")
    means = {
        each.labels["ratio"]: each.mean
        for each in comparison.differences
        if each.metric == "aupro30"
    }
    assert means == pytest.approx({"0.1": 0.01, "1": 0.1})
    lines = write_differences(tmp_path, comparison).read_text().splitlines()
    assert len([line for line in lines if line.startswith("| mvtec3d")]) == 2


def test_runs_with_other_shots_are_refused(tmp_path, rng):
    two_methods(tmp_path, rng, seeds=1)
    file = tmp_path / "ours0" / "result.json"
    file.write_text(file.read_text().replace('"000.tiff"', '"001.tiff"'))
    with pytest.raises(DataError, match=r"ours0/result\.json: expected the shots of .*theirs0"):
        compare(collect([tmp_path]), "theirs")


def test_only_equal_shots_and_data_are_compared(tmp_path, rng):
    scores = list(rng.normal(size=GOOD + BAD))
    write(tmp_path / "a", "ours", 0, scores, 0.7, shots=1)
    write(tmp_path / "b", "theirs", 0, scores, 0.7, shots=5)
    comparison = compare(collect([tmp_path]), "theirs")
    assert comparison.differences == []
    assert comparison.left_out == [
        "ours at 1 shots: not compared, no run of theirs has its data, shots and seeds"
    ]


def test_the_reference_with_the_same_backbone_is_taken(tmp_path, rng):
    scores = list(rng.normal(size=GOOD + BAD))
    other = PRETRAINED | {"name": "resnet18"}
    write(tmp_path / "a", "ours", 0, scores, 0.9)
    write(tmp_path / "b", "theirs", 0, scores, 0.8)
    write(tmp_path / "c", "theirs", 0, scores, 0.1, backbone=other)
    found = {each.metric: each for each in compare(collect([tmp_path]), "theirs").differences}
    assert found["aupro30"].mean == pytest.approx(0.1)


def test_what_a_run_has_no_number_of_is_not_compared_and_that_is_said(tmp_path, rng):
    two_methods(tmp_path, rng, seeds=2)
    reason = "2 of 3 defective test images have no mask"
    for seed in range(2):
        path = tmp_path / f"ours{seed}/result.json"
        result = json.loads(path.read_text())
        result["categories"]["bagel"] |= {"aupro30": None, "undefined": {"aupro30": reason}}
        path.write_text(json.dumps(result))
    comparison = compare(collect([tmp_path]), "theirs")
    assert {each.metric for each in comparison.differences} == {*METRICS} - {"aupro30"}
    assert comparison.left_out == [f"ours at 1 shots: aupro30 not compared in bagel: {reason}"]
    text = write_differences(tmp_path, comparison).read_text()
    assert f"{comparison.left_out[0]}." in text
    (line,) = (line for line in text.splitlines() if "| ours |" in line)
    assert line.split(" | ")[-2] == "–"


def test_of_two_categories_the_one_that_has_the_metric_is_compared(tmp_path, rng):
    two_methods(tmp_path, rng, seeds=2)
    for path in sorted(tmp_path.rglob("result.json")):
        result = json.loads(path.read_text())
        lacking = {"image_auroc": None, "undefined": {"image_auroc": "no test image is good"}}
        result["categories"]["tire"] = result["categories"]["bagel"] | lacking
        path.write_text(json.dumps(result))
    comparison = compare(collect([tmp_path]), "theirs")
    cells = {each.metric: each.cells for each in comparison.differences}
    assert cells == {metric: 2 if metric == "image_auroc" else 4 for metric in METRICS}
    (note,) = comparison.left_out
    assert note.endswith(
        "image_auroc not compared in tire (1 of 2 categories): no test image is good"
    )
    text = write_differences(tmp_path, comparison).read_text()
    (line,) = (line for line in text.splitlines() if "| ours |" in line)
    assert "| 4 | 60 |" in line


def test_runs_without_any_metric_are_said_not_to_be_compared(tmp_path, rng):
    two_methods(tmp_path, rng, seeds=1)
    reasons = dict.fromkeys(METRICS, "no test image is defective")
    for path in sorted(tmp_path.rglob("result.json")):
        result = json.loads(path.read_text())
        result["categories"]["bagel"] |= {**dict.fromkeys(METRICS), "undefined": reasons}
        path.write_text(json.dumps(result))
    comparison = compare(collect([tmp_path]), "theirs")
    assert comparison.differences == []
    text = write_differences(tmp_path, comparison).read_text()
    assert f"{', '.join(METRICS)} not compared in bagel: no test image is defective." in text
    assert "plotly" not in forest(comparison)[0].html


def test_an_unknown_reference_is_answered_with_the_methods_there_are(tmp_path, rng):
    two_methods(tmp_path, rng, seeds=1)
    with pytest.raises(ConfigError, match="reference: expected one of ours, theirs, got 'padim'"):
        compare(collect([tmp_path]), "padim")


def test_an_ambiguous_reference_is_left_out_and_said(tmp_path, rng):
    scores = list(rng.normal(size=GOOD + BAD))
    for name in ("resnet18", "tiny"):
        write(tmp_path / name, "theirs", 0, scores, 0.8, backbone=PRETRAINED | {"name": name})
    write(tmp_path / "a", "ours", 0, scores, 0.9)
    comparison = compare(collect([tmp_path]), "theirs")
    assert comparison.differences == []
    assert "2 runs of theirs fit, with different settings" in comparison.left_out[0]


def test_scores_that_are_not_there_or_of_other_images_are_refused(tmp_path, rng):
    two_methods(tmp_path, rng, seeds=1)
    file = tmp_path / "ours0" / "scores.csv"
    whole = file.read_text()
    file.write_text(whole.replace("000.tiff", "999.tiff"))
    with pytest.raises(DataError, match=r"ours0/scores\.csv: expected the test images of"):
        compare(collect([tmp_path]), "theirs")
    file.unlink()
    with pytest.raises(DataError, match=r"ours0/scores\.csv: expected the scores of a run"):
        compare(collect([tmp_path]), "theirs")
