"""A run told to keeps its exported files, and they never spoil the run."""

import sys

import pytest
from safetensors.torch import save_file

from fsad.errors import ConfigError, DataError, OutputError, PackageError
from fsad.nn.timm_networks import create_vit
from fsad.nn.tiny import TIMM_NAME
from fsad.predict.model_file.kept import kept_model, state_of
from fsad.predict.onnx import OnnxScorer
from fsad.results.record import read_result

SHALLOW = ("backbone.model_args.depth=2", "backbone.layers=[0]")  # to export it is long
QUICK = ("export=true", "maps=false", *SHALLOW)


def test_a_run_keeps_an_exported_file_of_each_category_that_is_compared_with_the_run(
    run, tmp_path, caplog
):
    caplog.set_level("INFO")
    words = ("method=patchcore", "data.category=all", *QUICK)
    folder = run(tmp_path, *words, without="method.")
    for category in ("knob", "tile"):
        path = kept_model(folder, category)
        assert path is not None
        said = OnnxScorer(path).metadata
        assert (said.category, said.method) == (category, "patchcore")
        assert said.state == state_of(path.parent)
    compared = "model.onnx; it scores as the run does on 6 of its images: scores within"
    assert caplog.text.count(compared) == 2


def test_a_file_that_disagrees_is_not_kept_and_spoils_nothing(run, tmp_path, monkeypatch, caplog):
    def differs(*_):
        raise DataError("model: expected nothing of this")

    monkeypatch.setattr("fsad.export.proof.compared", differs)
    folder = run(tmp_path, "method=patchcore", *QUICK, without="method.")
    assert "export: expected to write one, got 'model: expected nothing of this'" in caplog.text
    assert kept_model(folder, "tile") is None
    assert read_result(folder / "result.json").categories.keys() == {"tile"}


def test_a_run_that_is_not_told_to_keeps_none(finished):
    assert kept_model(finished, "tile") is None


def test_a_file_that_cannot_be_written_is_said_and_spoils_nothing(run, tmp_path, caplog):
    masked = ("method=anomalydino", "method.rotations=1", "method.threshold=0.1")
    folder = run(tmp_path, *masked, *QUICK, without="method.")
    assert read_result(folder / "result.json").categories.keys() == {"tile"}
    assert "export: expected to write one, got 'method: expected one that ONNX" in caplog.text
    assert f"Correct that, then: fsad export {folder} --category tile" in caplog.text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["method=part_mask"], "method: expected one that scores an image by itself"),
        (["method=sift"], "method: expected one that scores alike in another program"),
        (["method=patchcore", "trainer.precision=bf16-mixed"], "trainer.precision: expected"),
    ],
)
def test_a_run_that_could_not_be_exported_does_not_start(run, tmp_path, words, why):
    with pytest.raises(ConfigError, match=f"export: expected .* got '{why}.* leave export=true"):
        run(tmp_path, *words, *QUICK, without="method.")
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_begun_all_the_same_can_be_ended(run, tmp_path, caplog):
    folder = run(tmp_path, "method=part_mask", "maps=false", without="method.")
    config = (folder / "config.yaml").read_text().replace("export: false", "export: true")
    (folder / "config.yaml").write_text(config)
    (folder / "result.json").unlink()
    run(folder, f"resume={folder}")
    assert read_result(folder / "result.json").categories.keys() == {"tile"}
    assert "export: expected to write one, got 'method: expected one that scores" in caplog.text


def full_disk(*_):
    raise OutputError("model.onnx: expected to write it, got 'No space left on device'")


def test_a_run_gone_on_with_is_exported_with_the_weights_that_it_was_given(
    run, tmp_path, monkeypatch, caplog
):
    weights = tmp_path / "first.safetensors"
    network = create_vit(TIMM_NAME, 0, img_size=64, embed_dim=24, patch_size=8, depth=2)
    save_file(network.state_dict(), weights)
    folder = tmp_path / "run"
    words = ("method.stages.perturb=false", "method.stages.rectify=false", *QUICK)
    with monkeypatch.context() as patch:
        patch.setattr("fsad.export.from_run.write_onnx", full_disk)
        run(folder, *words, f"backbone.weights_path={weights}")
        moved = weights.rename(tmp_path / "moved.safetensors")
        again = (f"resume={folder}", f"backbone.weights_path={moved}")
        run(folder, *again)
    assert f"fsad export {folder} --category tile --weights-path {moved}" in caplog.text
    run(folder, *again)
    assert kept_model(folder, "tile")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_exporters_packages_no_run_starts(run, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PackageError, match=package):
        run(tmp_path, *QUICK)
    assert not (tmp_path / "config.yaml").exists()
