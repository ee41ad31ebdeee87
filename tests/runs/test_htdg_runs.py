"""Whole runs of HTDG on tiny generated images: a stage for each scale, and no backbone."""

import csv
import json

import numpy as np
import pytest
from outcome import numbers
from test_resume import Killed, kill_at

import fsad
from fsad.errors import ConfigError
from fsad.export.from_run import export_run
from fsad.methods.htdg.scale import ScaleModule
from fsad.results.dataset import open_dataset
from fsad.results.record import read_result

SMALL = (
    "method.scales=2",
    "method.size=32",
    "method.fit.epochs=3",
    "method.fit.iterations=2",
    "data.shots=2",
)


@pytest.fixture(scope="module")
def start(run):
    """``start(folder, *words)``: a run of the method on photographs."""

    def start(folder, *words):
        chosen = ("method=htdg", "data.modality=rgb", *SMALL)
        return run(folder, *chosen, *words, without="method.")

    return start


@pytest.fixture(scope="module")
def ended(start, tmp_path_factory):
    """A finished run of one category."""
    return start(tmp_path_factory.mktemp("htdg"))


def rows_of(folder):
    with (folder / "scores.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_has_a_file_and_a_part_of_the_score_for_each_scale(ended):
    result = json.loads((ended / "result.json").read_text())
    entry = result["categories"]["tile"]
    assert result["backbone"]["name"] == "colours"
    assert result["backbone"]["weights"] == "none needed"
    assert result["method"] == "htdg (6 iterations)"
    for scale in ("scale0", "scale1"):
        assert (ended / f"categories/tile/{scale}.safetensors").is_file()
        assert entry["parts"][scale]["pixel_auroc"] is not None
        assert entry["seconds"][scale] > 0
    for row in rows_of(ended):
        mean = np.mean([float(row["score_scale0"]), float(row["score_scale1"])])
        assert float(row["score"]) == pytest.approx(mean, rel=1e-5)
    assert "scale1 only" in (ended / "table.md").read_text()
    assert "htdg (6 iterations)" in (ended / "table.md").read_text()


def test_the_same_seed_gives_the_same_run(start, ended, tmp_path):
    assert rows_of(start(tmp_path / "same")) == rows_of(ended)
    assert rows_of(start(tmp_path / "other", "seed=1")) != rows_of(ended)


@pytest.mark.parametrize("scale", [0, 1])
def test_a_run_broken_inside_a_scale_goes_on_to_the_same_end(
    ended, start, run, tmp_path, monkeypatch, scale
):
    with monkeypatch.context() as broken:
        kill_at(
            broken,
            ScaleModule,
            "training_step",
            lambda module, *_: module.scale == scale and module.current_epoch == 2,
        )
        with pytest.raises(Killed):
            start(tmp_path / "cut")
    assert (tmp_path / f"cut/categories/tile/scale{scale}.ckpt").is_file()
    run(tmp_path / "cut", f"resume={tmp_path / 'cut'}", without="method.")
    assert rows_of(tmp_path / "cut") == rows_of(ended)
    assert numbers(tmp_path / "cut") == numbers(ended)


def test_a_run_and_its_exported_file_predict_what_was_tested(ended, tmp_path):
    root = open_dataset(read_result(ended / "result.json")).root
    exported = export_run(ended, "tile", tmp_path / "tile.onnx")  # which proves its scores
    for model in (fsad.load(ended), fsad.load(exported.path)):
        for row in rows_of(ended)[:2]:
            prediction = model.predict(root / row["image"])
            assert prediction.score == pytest.approx(float(row["score"]), rel=1e-4)
            assert prediction.map is not None


def test_an_exported_file_holds_the_discriminators_alone(ended, tmp_path):
    import onnx_ir

    exported = export_run(ended, "tile", tmp_path / "tile.onnx")
    names = list(onnx_ir.load(exported.path).graph.initializers)
    assert any("discriminator" in name for name in names)
    assert not any("generator" in name for name in names)


def test_depth_is_learnt_from_too(start, tmp_path):
    folder = start(tmp_path / "run", "data.modality=depth", "method.transforms=gray")
    assert json.loads((folder / "result.json").read_text())["mean"]["image_auroc"] is not None
    message = "method.transforms: expected rotations or gray with images without colours, got all"
    with pytest.raises(ConfigError, match=message):
        start(tmp_path / "all", "data.modality=depth", "method.transforms=all")


def test_images_keep_no_shape(start, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.resize: expected square with method htdg"):
        start(tmp_path / "run", "data.resize=keep")


def test_more_shots_than_images_are_refused(start, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.shots: expected at most 4 for category 'tile'"):
        start(tmp_path / "run", "data.shots=9")
