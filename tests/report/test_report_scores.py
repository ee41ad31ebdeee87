"""Mistakes obey their laws, and a run's scores are read back or refused."""

import json

import numpy as np
import pytest
import torch
from made_run import BETA, SIGMA, make_run, write_tensors_of

from fsad.errors import ConfigError, DataError, MissingDataError
from fsad.functional.scoring import anomaly_maps, fuse, image_scores
from fsad.metrics.exact import auroc
from fsad.metrics.masks import number_regions
from fsad.metrics.pro import area_to, pro_curve
from fsad.report.measured import POINTS, measure, overlaps
from fsad.report.scores import mistakes, read_scores, worst_first
from fsad.results.record import CATEGORY, read_result
from fsad.scores.combination import Combination

IMAGES = [(f"a/{i}.tiff", "good" if i % 2 else "dent") for i in range(6)]


@pytest.fixture
def result(tmp_path):
    make_run(tmp_path, {"knob": IMAGES}, tmp_path / "nowhere")
    return read_result(tmp_path / "result.json")


def test_the_mean_mistake_of_each_kind_is_one_less_the_auroc(normal, generator):
    scores = (normal(40) * 4).round()  # with ties
    labels = torch.rand(40, generator=generator) < 0.3
    found = mistakes(scores, labels)
    expected = 1 - auroc(scores, labels)
    assert float(found[labels].mean()) == pytest.approx(expected, abs=1e-6)
    assert float(found[~labels].mean()) == pytest.approx(expected, abs=1e-6)


def test_there_is_no_mistake_exactly_where_both_kinds_are_separated():
    labels = torch.tensor([False, False, True, True])
    assert mistakes(torch.tensor([1.0, 2.0, 3.0, 4.0]), labels).tolist() == [0, 0, 0, 0]
    assert mistakes(torch.tensor([1.0, 3.0, 2.0, 4.0]), labels).tolist() == [0, 0.5, 0.5, 0]


def test_one_kind_of_images_makes_no_mistake():
    assert mistakes(torch.rand(3), torch.zeros(3, dtype=torch.bool)).tolist() == [0, 0, 0]


def test_equal_mistakes_are_ordered_by_the_side_they_lie_towards():
    scores = torch.tensor([1.0, 2.0, 8.0, 5.0])
    labels = torch.tensor([False, False, True, True])
    # good 1: 2 above mean less than 1 is below; defective 5 is nearer to the good than 8
    assert [place for _, _, place in worst_first(scores, labels)] == [3, 1, 0, 2]


def mix_of(folder, **options):
    make_run(folder, {"knob": IMAGES}, folder, **options)
    return read_scores(read_result(folder / "result.json"), "knob").mix


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("parts", [("source", "target"), ("texture", "shape")])
def test_two_parts_are_mixed_as_the_run_recorded_it(tmp_path, parts, share):
    first, second = parts
    mean = Combination("mean", {first: share, second: 1 - share})
    assert mix_of(tmp_path, domains=parts, combination=mean) == (first, second, share)


@pytest.mark.parametrize(
    ("parts", "combination"),
    [
        (("target",), Combination()),
        (("source", "target"), Combination("max")),
        (("fine", "middle", "coarse"), Combination("sum")),
        (("a", "b", "c"), Combination("mean", {"a": 0.25, "b": 0.25, "c": 0.5})),
    ],
    ids=["one part", "maximum", "sum of three", "mean of three"],
)
def test_other_parts_have_no_share_to_choose(tmp_path, parts, combination):
    assert mix_of(tmp_path, domains=parts, combination=combination) is None


def test_the_share_is_known_only_if_it_was_recorded_and_yields_the_scores(tmp_path):
    assert mix_of(tmp_path / "without", recorded=["sigma"]) is None
    assert mix_of(tmp_path / "with").share == BETA
    record = {"combination": Combination("mean", {"source": 0.5, "target": 0.5}).to_json()}
    path = tmp_path / "with" / "categories" / "knob" / CATEGORY
    path.write_text(json.dumps(record))
    result = read_result(tmp_path / "with" / "result.json")
    assert read_scores(result, "knob").mix is None


def test_a_record_of_before_combinations_says_the_share_of_the_source(tmp_path):
    make_run(tmp_path, {"knob": IMAGES}, tmp_path, recorded=[])
    path = tmp_path / "categories" / "knob" / CATEGORY
    path.write_text(json.dumps({"beta": BETA, "sigma": 2.0}))
    scores = read_scores(read_result(tmp_path / "result.json"), "knob")
    assert (scores.mix, scores.sigma) == (("source", "target", BETA), 2.0)


def test_where_the_record_does_not_say_the_blur_is_that_of_the_settings(tmp_path):
    make_run(tmp_path, {"knob": IMAGES}, tmp_path, recorded=[])
    result = read_result(tmp_path / "result.json")
    result.config["method"]["sigma"] = 2.5
    assert read_scores(result, "knob").sigma == 2.5


def test_an_unknown_combination_is_refused(tmp_path):
    make_run(tmp_path, {"knob": IMAGES}, tmp_path, recorded=[])
    record = {"combination": {"kind": "median", "weights": {}}}
    (tmp_path / "categories" / "knob" / CATEGORY).write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"combination: expected .* got 'median'"):
        read_scores(read_result(tmp_path / "result.json"), "knob")


def test_a_missing_or_damaged_file_is_named(tmp_path, result):
    path = tmp_path / "categories/knob/patch_scores.safetensors"
    write_tensors_of(
        tmp_path, "knob", {"target": torch.rand(5, 8, 8), "target.images": torch.rand(5)}
    )
    with pytest.raises(DataError, match=r"expected 6 images as in scores\.csv, got 5\. Run again"):
        read_scores(result, "knob")
    write_tensors_of(tmp_path, "knob", {"else": torch.rand(5)})
    with pytest.raises(
        DataError, match=r"patch_scores\.safetensors: expected patch scores, got none"
    ):
        read_scores(result, "knob")
    path.write_bytes(b"half a file")
    with pytest.raises(DataError, match="expected a file of tensors, got"):
        read_scores(result, "knob")
    path.unlink()
    with pytest.raises(MissingDataError, match="expected a file of tensors, got none"):
        read_scores(result, "knob")


def test_a_damaged_table_of_scores_is_named(tmp_path, result):
    (tmp_path / "scores.csv").write_text("category,image\nknob,a\n")
    with pytest.raises(DataError, match=r"scores\.csv: expected the scores of a run, got a file"):
        read_scores(result, "knob")


@pytest.mark.parametrize("beta", [0.0, 0.13, 0.6, 0.97, 1.0])
def test_the_scale_holds_every_mixed_map_at_any_share(result, beta):
    scores = read_scores(result, "knob")
    rows = measure(scores, 32, None).fused_limits
    maps = [anomaly_maps(each.patches, 32, SIGMA) for each in scores.parts.values()]
    values = fuse(*maps, beta)
    betas = sorted(rows)
    after = next(it for it in betas if it >= beta)
    before = max((it for it in betas if it <= beta), default=after)
    share = 0 if after == before else (beta - before) / (after - before)
    low, high = (rows[before][i] + share * (rows[after][i] - rows[before][i]) for i in (0, 1))
    assert low <= float(values.min()) + 1e-5
    assert high >= float(values.max()) - 1e-5


@pytest.mark.parametrize("levels", [None, 40, 1], ids=["no ties", "many ties", "one tie"])
def test_overlaps_are_the_pro_curve_at_the_drawn_points(normal, levels):
    maps = normal(6, 32, 32)
    if levels is not None:
        maps = (maps.sigmoid() * levels).ceil()
    masks = torch.zeros(6, 32, 32, dtype=torch.bool)
    masks[0, 3:9, 4:7] = masks[0, 20:30, 20:30] = masks[4, :2, 31] = True
    regions = number_regions(masks)
    fpr, overlap = pro_curve(maps, regions)
    expected = np.interp(POINTS, fpr.numpy(), overlap.numpy())
    np.testing.assert_allclose(overlaps(maps, regions), expected, atol=1e-12)


def test_pro_curves_are_those_of_the_maps_at_each_share(result):
    scores = read_scores(result, "knob")
    masks = torch.zeros(6, 32, 32, dtype=torch.bool)
    masks[scores.labels, 8:16, 10:20] = True
    found = measure(scores, 32, list(masks))
    maps = [anomaly_maps(each.patches, 32, SIGMA) for each in scores.parts.values()]
    assert {0.0, 0.5, BETA, 1.0} <= found.fused_pro.keys()
    for beta, drawn in found.fused_pro.items():
        fpr, overlap = pro_curve(fuse(*maps, beta), number_regions(masks))
        assert drawn == pytest.approx(np.interp(POINTS, fpr, overlap), abs=1e-6)
        area = float(torch.trapezoid(torch.tensor(drawn), torch.tensor(POINTS))) / 0.3
        assert area == pytest.approx(area_to(0.3, fpr, overlap), abs=2e-3)  # of 101 points
    assert found.fused_pro[0.0] == found.pro["target"]
    assert found.fused_pro[1.0] == found.pro["source"]


def test_without_a_defect_there_is_no_pro_curve(result):
    masks = torch.zeros(6, 32, 32, dtype=torch.bool)
    found = measure(read_scores(result, "knob"), 32, list(masks))
    assert found.pro == found.fused_pro == {}


def test_parts_that_are_not_mixed_have_curves_of_their_own_alone(tmp_path):
    parts = ("fine", "middle", "coarse")
    make_run(tmp_path, {"knob": IMAGES}, tmp_path, domains=parts, combination=Combination("sum"))
    scores = read_scores(read_result(tmp_path / "result.json"), "knob")
    masks = torch.zeros(6, 32, 32, dtype=torch.bool)
    masks[scores.labels, 8:16, 10:20] = True
    found = measure(scores, 32, list(masks))
    assert found.limits.keys() == found.pro.keys() == set(parts)
    assert found.fused_limits == found.fused_pro == {}


def test_image_scores_are_those_of_the_run(result):
    scores = read_scores(result, "knob")
    source, target = (image_scores(each.patches) for each in scores.parts.values())
    assert fuse(source, target, BETA).tolist() == scores.fused.tolist()
