"""What in an exported file is not believed: scores, thresholds and records that cannot be."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from model_files import RECORD, plain, with_nan
from typer.testing import CliRunner

from fsad.cli import app
from fsad.errors import DataError, NonFiniteError, ShapeError
from fsad.predict.model_file.metadata import Metadata
from fsad.predict.onnx import OnnxScorer, load_onnx


@pytest.fixture
def images():
    return np.linspace(0.4, 0.9, 64, dtype=np.float32).reshape(1, 1, 8, 8)


def test_a_nan_in_the_map_is_found_by_onnxruntime_though_the_score_has_lost_it(tmp_path, images):
    scored = OnnxScorer(plain(tmp_path / "good.onnx")).score(images)
    assert scored.score == pytest.approx(0.9)
    with pytest.raises(NonFiniteError, match=r"^map: expected a finite number, got NaN"):
        OnnxScorer(with_nan(tmp_path / "nan.onnx")).score(images)


def test_such_an_image_is_not_called_good(tmp_path):
    depth = np.linspace(0.4, 0.9, 64, dtype=np.float32).reshape(8, 8)
    assert load_onnx(plain(tmp_path / "good.onnx")).predict(depth).decision == "defective"
    with pytest.raises(NonFiniteError, match=r"^map: expected a finite number"):
        load_onnx(with_nan(tmp_path / "nan.onnx")).predict(depth)


BAD = [
    ("threshold", float("nan"), "a finite number or null", "nan"),
    ("threshold", float("inf"), "a finite number or null", "inf"),
    ("threshold", "3.5", "a finite number or null", "'3.5'"),
    ("threshold", [1], "a finite number or null", r"\[1\]"),
    ("map_threshold", float("-inf"), "a finite number or null", "-inf"),
    ("false_alarm_rate", 2, r"a number in \[0, 1\] or null", "2"),
    ("part_above", {}, "a finite number or null", "{}"),
    ("image_size", 8.0, "a whole number from 1 to 65535", "8.0"),
    ("image_size", -8, "a whole number from 1 to 65535", "-8"),
    ("image_size", True, "a whole number from 1 to 65535", "True"),
    ("beta", 1.5, r"a number in \[0, 1\]", "1.5"),
    ("sigma", -1, "a number of at least 0", "-1"),
    ("backbone", "depth", "texts by name", "'depth'"),
    ("backbone", {"name": 1}, "texts by name", "{'name': 1}"),
    ("png_holes", "no", "true or false", "'no'"),
    ("rules", [], "settings by name or null", r"\[\]"),
    ("profile", 1, "numbers by name or null", "1"),
    ("category", None, "a text", "None"),
    ("note", 10**400, "a text", r"1000.*\.\.\."),
]


@pytest.mark.parametrize(("key", "value", "kind", "got"), BAD)
def test_a_record_of_another_kind_or_out_of_range_is_refused_in_one_line(
    tmp_path, key, value, kind, got
):
    text = json.dumps(asdict(RECORD) | {key: value})
    message = rf"model\.(onnx|pt2): expected {kind} at '{key}', got {got}\. Export it with: fsad"
    with pytest.raises(DataError, match=message):
        Metadata.from_json(text, "model.pt2")
    path = plain(tmp_path / "model.onnx", metadata=text)
    with pytest.raises(DataError, match=message):
        load_onnx(path)
    np.save(tmp_path / "part.npy", np.linspace(1, 2, 64).reshape(8, 8))
    words = ["predict", str(path), str(tmp_path / "part.npy"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"rules": {"of": "another version"}},
        {"rules": {"invalid": "65535"}},
        {"profile": {"aspect": 1.0}},
        {"profile": {"aspect": float("nan"), "extent": None}},
        {"profile": {"aspect": 1.0, "extent": "wide"}},
    ],
)
def test_rules_and_profiles_that_cannot_be_are_refused_in_one_line(tmp_path, change):
    path = plain(tmp_path / "model.onnx", metadata=json.dumps(asdict(RECORD) | change))
    with pytest.raises(
        DataError, match=r"model\.onnx: expected rules and a profile of images in its record, got '"
    ):
        load_onnx(path)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]", "7", "", '{"schema": 1}'])
def test_what_is_no_record_is_refused_in_one_line(tmp_path, text):
    with pytest.raises(DataError, match=r"model\.onnx: expected a model that fsad exported, got"):
        load_onnx(plain(tmp_path / "model.onnx", metadata=text))


def test_a_record_of_another_image_size_than_the_models_is_refused(tmp_path):
    text = replace(RECORD, image_size=9).to_json()
    path = plain(tmp_path / "model.onnx", metadata=text)
    with pytest.raises(
        DataError, match=r"expected a model of images of 9 x 9 as its record says, got .*8, 8"
    ):
        load_onnx(path)


def test_colours_are_refused_by_a_file_that_looks_at_depth(tmp_path):
    scorer = OnnxScorer(plain(tmp_path / "model.onnx"))
    depth = np.random.default_rng(0).random((2, 1, 8, 8), np.float32)
    assert scorer.score(depth).score.shape == (2,)
    with pytest.raises(ShapeError, match=r"images: expected 1 channels, .* depth looks at, got 3"):
        scorer.score(np.repeat(depth, 3, axis=1))
