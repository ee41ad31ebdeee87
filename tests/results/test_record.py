"""``result.json`` and ``scores.csv``: what is written, what is refused, what is read back."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fsad.errors import DataError, MissingDataError
from fsad.metrics import METRICS
from fsad.results.record import (
    CategoryResult,
    ScoreRow,
    mean_over,
    read_result,
    write_result,
    write_scores,
)

FIVE = dict(zip(METRICS, (0.5, 0.6, 0.7, 0.8, 0.9), strict=True))
SETS = ("source_only", "target_only", "part_mask")
RESULT = CategoryResult(
    shots=["000.tiff", "017.tiff"],
    n_source=40,
    n_test_good=10,
    n_test_defect=20,
    fused=FIVE,
    source_only=dict.fromkeys(METRICS, 0.1),
    target_only=dict.fromkeys(METRICS, 0.2),
    part_mask=dict.fromkeys(METRICS, 0.3),
    bank_rows={"source": 400, "target": 784},
    seconds={"perturb": 1.0, "banks": 2.0, "rectify": 3.0, "test": 4.0, "metrics": 5.0},
    backbone_seconds=6.5,
    peak_rss_mb=1200.0,
    source_share=0.55,
    diagnostics={"perturb": {"loss": [1.0, 0.5]}},
    notes=["one note"],
)
RANDOM = {"name": "tiny", "weights": "random weights", "sha256": None}


def write(path, categories, failed=None):
    write_result(path, "hypertrans", 3, {"seed": 3}, RANDOM, categories, failed or {})
    return json.loads(path.read_text())


def undefined(metric):
    return replace(RESULT, fused=FIVE | {metric: None})


def test_a_result_holds_every_key_of_the_contract(tmp_path):
    result = write(tmp_path / "result.json", {"bagel": RESULT}, {"dowel": "no images"})
    contract = ["schema", "method", "seed", "config", "git", "versions", "backbone", "categories"]
    assert list(result)[: len(contract)] == contract
    assert (result["schema"], result["method"], result["seed"]) == (1, "hypertrans", 3)
    assert result["backbone"] == RANDOM
    assert result["failed"] == {"dowel": "no images"}
    assert result["mean"] == pytest.approx(FIVE)
    entry = result["categories"]["bagel"]
    assert {metric: entry[metric] for metric in METRICS} == FIVE
    for name in SETS:
        assert tuple(entry[name]) == METRICS
    assert entry["shots"] == ["000.tiff", "017.tiff"]
    assert (entry["n_source"], entry["n_test_good"], entry["n_test_defect"]) == (40, 10, 20)
    assert entry["bank_rows"] == {"source": 400, "target": 784}
    assert set(entry["seconds"]) == {"perturb", "banks", "rectify", "test", "metrics"}
    assert (entry["backbone_seconds"], entry["peak_rss_mb"]) == (6.5, 1200.0)
    assert entry["source_share"] == 0.55
    assert "fused" not in entry


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "result.json"
    write(path, {"bagel": RESULT}, {"dowel": "no images"})
    result = read_result(path)
    assert result.categories == {"bagel": RESULT}
    assert (result.method, result.seed, result.config) == ("hypertrans", 3, {"seed": 3})
    assert (result.backbone, result.failed) == (RANDOM, {"dowel": "no images"})
    assert CategoryResult.from_json(RESULT.to_json()) == RESULT


def test_keys_of_a_later_version_are_left_out():
    assert CategoryResult.from_json(RESULT.to_json() | {"new": 1}) == RESULT


def test_nan_and_infinity_become_null_and_tensors_become_numbers(tmp_path):
    diagnostics = {
        "gap": float("nan"),
        "norm": np.float32("inf"),
        "loss": torch.tensor(0.5),
        "curve": torch.tensor([1.0, float("nan")]),
        "file": tmp_path,
    }
    odd = replace(RESULT, diagnostics=diagnostics, source_share=float("nan"))
    entry = write(tmp_path / "result.json", {"bagel": odd})["categories"]["bagel"]
    assert entry["source_share"] is None
    assert entry["diagnostics"] == {
        "gap": None,
        "norm": None,
        "loss": 0.5,
        "curve": [1.0, None],
        "file": str(tmp_path),
    }


def test_the_mean_is_over_the_categories_that_have_a_number(tmp_path):
    low = replace(RESULT, fused=dict.fromkeys(METRICS, 0.1))
    categories = {"bagel": RESULT, "dowel": low, "tire": undefined("image_auroc")}
    result = write(tmp_path / "result.json", categories)
    assert result["mean"]["image_auroc"] == pytest.approx((0.5 + 0.1) / 2)
    assert result["mean"]["pixel_auroc"] == pytest.approx((0.6 + 0.1 + 0.6) / 3)
    assert result["notes"] == [
        "mean image_auroc: over 2 of 3 categories, without tire, where it is undefined"
    ]


def test_why_a_metric_is_null_stands_beside_it_and_nothing_where_all_are_defined(tmp_path):
    reasons = {"image_auroc": "no test image is defective"}
    odd = replace(undefined("image_auroc"), undefined=reasons)
    entries = write(tmp_path / "result.json", {"bagel": odd, "tire": RESULT})["categories"]
    assert entries["bagel"]["image_auroc"] is None
    assert entries["bagel"]["undefined"] == reasons
    assert "undefined" not in entries["tire"]
    assert read_result(tmp_path / "result.json").categories == {"bagel": odd, "tire": RESULT}


def test_the_mean_of_nothing_is_null(tmp_path):
    result = write(tmp_path / "result.json", {}, {"bagel": "no images"})
    assert result["mean"] == dict.fromkeys(METRICS)
    assert result["notes"] == ["mean: without bagel, which failed"]
    assert mean_over([{"image_auroc": None}])["image_auroc"] is None


@pytest.mark.parametrize("kept", [0, 1, 100])
def test_a_truncated_result_is_named(tmp_path, kept):
    path = tmp_path / "result.json"
    write(path, {"bagel": RESULT})
    path.write_text(path.read_text()[:kept])
    message = (
        r"result\.json: expected JSON, got '.*'\. Delete it, then say: python train.py resume="
    )
    with pytest.raises(DataError, match=message) as error:
        read_result(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("foreign", [{}, [1], {"schema": 2}, "text", None])
def test_foreign_json_is_refused(tmp_path, foreign):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(foreign))
    with pytest.raises(DataError, match=r"expected a result with schema 1, got schema (None|2)"):
        read_result(path)


@pytest.mark.parametrize("key", ["method", "backbone", "categories", "failed"])
def test_a_result_without_a_key_is_refused(tmp_path, key):
    path = tmp_path / "result.json"
    result = write(path, {"bagel": RESULT})
    del result[key]
    path.write_text(json.dumps(result))
    with pytest.raises(DataError, match=f"expected the key '{key}', got a result without it"):
        read_result(path)


def test_a_category_without_a_key_is_refused(tmp_path):
    path = tmp_path / "result.json"
    result = write(path, {"bagel": RESULT})
    del result["categories"]["bagel"]["aupro30"]
    path.write_text(json.dumps(result))
    with pytest.raises(DataError, match="expected the key 'aupro30', got a result without it"):
        read_result(path)


def test_a_result_of_another_form_is_refused(tmp_path):
    path = tmp_path / "result.json"
    result = write(path, {"bagel": RESULT})
    path.write_text(json.dumps(result | {"config": None}))
    with pytest.raises(DataError, match="expected an object at 'config', got None"):
        read_result(path)
    path.write_text(json.dumps(result | {"categories": {"bagel": "good"}}))
    with pytest.raises(DataError, match="expected a result, got 'string indices must be integers"):
        read_result(path)


def test_a_result_that_is_not_there_is_named(tmp_path):
    message = r"result\.json: expected a result\.json, got 'No such file or directory'"
    with pytest.raises(MissingDataError, match=message):
        read_result(tmp_path / "result.json")


def test_scores_keep_every_digit(tmp_path):
    path = tmp_path / "scores.csv"
    rows = [
        ScoreRow(
            "bagel",
            "test/hole/rgb/000.png",
            True,
            "hole",
            1 / 3,
            {"source": 27.123456789, "target": 1e-9},
        ),
        ScoreRow("bagel", "test/good/rgb/001.png", False, "good", 0.25, {"target": 2.0}),
    ]
    write_scores(path, rows)
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))
    header = ["category", "image", "label", "defect", "score", "score_source", "score_target"]
    assert list(read[0]) == header
    assert [row["label"] for row in read] == ["1", "0"]
    assert float(read[0]["score"]) == 1 / 3
    assert read[1]["score_source"] == ""


def test_parts_of_any_name_have_a_column_behind_the_agreed_ones(tmp_path):
    path = tmp_path / "scores.csv"
    rows = [
        ScoreRow("bagel", "0.png", True, "hole", 3.0, {"coarse": 1.0, "target": 2.0}),
        ScoreRow("bagel", "1.png", False, "good", 0.5, {"coarse": 0.25, "fine": 0.25}),
    ]
    write_scores(path, rows)
    lines = path.read_text().splitlines()
    assert lines[0].endswith("score,score_source,score_target,score_coarse,score_fine")
    assert [line.split(",")[4:] for line in lines[1:]] == [
        ["3.0", "", "2.0", "1.0", ""],
        ["0.5", "", "", "0.25", "0.25"],
    ]
