"""A run told to keeps its exported files, and they never spoil the run."""

import sys

import pytest

from fsad.errors import PackageError
from fsad.export.kept import kept_model, state_of
from fsad.predict.onnx import OnnxScorer
from fsad.run_record import read_result

QUICK = ("export=true", "maps=false")


def test_a_run_keeps_an_exported_file_of_each_category_that_is_as_the_run_is(run, tmp_path):
    words = ("method=patchcore", "data.category=all", *QUICK)
    folder = run(tmp_path, *words, without="method.")
    for category in ("knob", "tile"):
        path = kept_model(folder, category)
        assert path is not None
        said = OnnxScorer(path).metadata
        assert (said.category, said.method) == (category, "patchcore")
        assert said.state == state_of(path.parent)


def test_a_run_that_is_not_told_to_keeps_none(finished):
    assert kept_model(finished, "tile") is None


def test_a_file_that_cannot_be_written_is_said_and_spoils_nothing(run, tmp_path, caplog):
    folder = run(tmp_path, "method=part_mask", *QUICK, without="method.")
    assert read_result(folder / "result.json").categories.keys() == {"tile"}
    assert "export: expected to write one, got 'method: expected one that" in caplog.text
    assert f"Try again with: fsad export {folder} --category tile" in caplog.text


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_the_exporters_packages_no_run_starts(run, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PackageError, match=package):
        run(tmp_path, *QUICK)
    assert not (tmp_path / "config.yaml").exists()
