"""An exported file: what it holds, who can read it, and when none is written."""

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exported_runs import LIMITS
from hydra.utils import instantiate
from omegaconf import OmegaConf
from typer.testing import CliRunner

import fsad
import fsad.export.onnx
from fsad.cli import app
from fsad.data.input import DepthInput
from fsad.engine.trained import load_trained
from fsad.errors import ConfigError, DataError, MissingDataError, PackageError, RunError
from fsad.export.about import UNKNOWN, about, licence_of
from fsad.export.module import traced
from fsad.export.onnx import write_onnx
from fsad.predict.model_file.metadata import Metadata
from fsad.predict.onnx import OnnxScorer, load_onnx
from fsad.predict.scorer import Limits
from fsad.scores.threshold import Threshold

SEEN = DepthInput(64)
WITHOUT_TRAINING = """
import sys

class Blocked:
    def find_spec(self, name, *_):
        blocked = {"torch", "torchvision", "lightning", "timm", "hydra", "omegaconf", "dhg"}
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Blocked())
"""
PREDICT = """
from fsad.cli import main
sys.argv[0] = "fsad"
main()
"""


def predict_without_training(*words):
    code = [sys.executable, "-c", WITHOUT_TRAINING + PREDICT, "predict", *words]
    return subprocess.run(code, capture_output=True, text=True, check=False)


def test_without_the_training_stack_the_file_predicts_what_the_run_scored(onnx_of, tmp_path):
    trained, path = onnx_of("hypertrans")
    run = trained.folder.parents[1]
    data = instantiate(OmegaConf.load(run / "config.yaml").data, _convert_="all")
    images = [str(sample.files["depth"]) for sample in data.for_category("tile").test_samples]
    out = tmp_path / "out"
    done = predict_without_training(str(path), *images, "--out", str(out), "--no-maps")
    assert done.returncode == 0, done.stderr
    known = list(csv.DictReader((run / "scores.csv").read_text().splitlines()))
    said = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    for name in ("score", "score_source", "score_target"):
        wanted = [float(row[name]) for row in known]
        assert [float(row[name]) for row in said] == pytest.approx(wanted, rel=1e-4)
    above = [float(row["score"]) > LIMITS.image for row in known]
    assert [row["decision"] for row in said] == ["defective" if it else "good" for it in above]


@pytest.mark.parametrize(
    ("option", "value"), [("--category", "tile"), ("--device", "cuda"), ("--weights-path", "w.pth")]
)
def test_what_only_a_runs_folder_can_be_asked_is_refused(tmp_path, option, value):
    words = ["predict", "model.onnx", str(tmp_path), "--out", str(tmp_path / "out"), option, value]
    (tmp_path / "part.npy").touch()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    name = option.strip("-").replace("-", "_")
    assert f"error: {name}: expected none with an exported model, got '{value}'" in done.output


def test_python_reads_a_file_without_torch_and_refuses_what_only_a_folder_has(onnx_of, tmp_path):
    path = onnx_of("hypertrans")[1]
    np.save(tmp_path / "part.npy", np.random.default_rng(0).uniform(1, 2, (64, 64)))
    code = "import fsad; print(fsad.load(sys.argv[1]).predict(sys.argv[2]).score)"
    words = [sys.executable, "-c", WITHOUT_TRAINING + code, str(path), str(tmp_path / "part.npy")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(fsad.load(path).predict(tmp_path / "part.npy").score)
    with pytest.raises(ConfigError, match="category: expected none with an exported model"):
        fsad.load(path, "tile")


def test_the_file_says_what_it_is(onnx_of):
    trained, path = onnx_of("hypertrans")
    said = OnnxScorer(path).metadata
    assert said == about(trained, LIMITS, SEEN)
    assert (said.method, said.category, said.image_size) == ("hypertrans", "tile", 64)
    assert said.backbone["sha256"] == trained.extractor.sha256
    assert (said.threshold, said.map_threshold, said.false_alarm_rate) == (3.5, 2.5, 0.25)
    model = fsad.load(path)
    assert (model.limits, model.category, model.input.part_above) == (LIMITS, "tile", None)


def test_the_file_says_whether_0_in_a_png_is_a_hole_and_of_an_earlier_one_it_is(onnx_of):
    trained = onnx_of("hypertrans")[0]
    said = about(trained, LIMITS, DepthInput(64, png_holes=False))
    assert not said.png_holes
    assert Metadata.from_json(said.to_json(), "model.onnx") == said
    earlier = json.loads(said.to_json())
    del earlier["png_holes"]
    assert Metadata.from_json(json.dumps(earlier), "model.onnx").png_holes


def test_the_file_is_of_one_opset_and_open_in_the_number_of_images_alone(onnx_of):
    import onnx

    model = onnx.load(onnx_of("hypertrans")[1])
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    shapes = {
        each.name: [axis.dim_param or axis.dim_value for axis in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "depth": ["n", 1, 64, 64],
        "score": ["n"],
        "map": ["n", 64, 64],
        "score_source": ["n"],
        "score_target": ["n"],
    }


def test_the_file_holds_no_path_of_the_machine_that_made_it(onnx_of):
    assert (
        str(Path(fsad.export.onnx.__file__).parents[2]).encode()
        not in onnx_of("hypertrans")[1].read_bytes()
    )


def test_a_licence_is_named_as_far_as_it_is_known(onnx_of):
    extractor = onnx_of("hypertrans")[0].extractor
    weights = extractor.weights
    try:
        for weights_of, licence in (
            ("random weights", "none needed"),
            ("file", UNKNOWN),
            ("shipped", fsad.export.about.SHIPPED),
        ):
            extractor.weights = weights_of
            assert licence_of(extractor) == licence
        extractor.weights = "pretrained"
        extractor.net.pretrained_cfg = {"license": "apache-2.0"}
        assert licence_of(extractor) == "apache-2.0"
    finally:
        extractor.weights = weights


def test_the_command_writes_both_formats_and_says_what_it_wrote(run_of, tmp_path):
    for kind, name in (("onnx", "ONNX, opset 18"), ("pt2", "torch.export")):
        path = tmp_path / f"model.{kind}"
        words = ["export", str(run_of("raw")), "--format", kind, "-o", str(path)]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert f"wrote {path} ({name}" in done.output
        assert "none needed" in done.output
        assert [it.name for it in tmp_path.iterdir() if it.name.startswith(".")] == []


def test_the_control_is_refused_in_one_line(run_of, tmp_path):
    words = ["export", str(run_of("part_mask")), "-o", str(tmp_path / "model.onnx")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "error: method: expected one that scores an image by itself, got part_mask" in (
        done.output
    )
    assert not list(tmp_path.iterdir())


def test_what_onnx_cannot_do_is_refused_by_the_methods_name_and_the_old_file_stays(
    run_of, tmp_path
):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"whole")
    trained = load_trained(run_of("masked"))
    with pytest.raises(RunError, match=r"ONNX has the operators of, got anomalydino.*--format pt2"):
        write_onnx(traced(trained), about(trained, Limits(), SEEN), path)
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_features_that_magnify_rounding_are_refused(run_of, tmp_path):
    trained = load_trained(run_of("raw"))
    said = about(trained, Limits(), SEEN)
    sift = replace(said, method="sift", backbone=said.backbone | {"name": "sift"})
    with pytest.raises(RunError, match=r"scores alike in another program, got sift.*--format pt2"):
        write_onnx(traced(trained), sift, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_what_no_graph_can_hold_is_refused_by_the_methods_name(run_of, monkeypatch):
    trained = load_trained(run_of("raw"))
    score = type(trained.scorer).score

    def looks_at_a_number(self, images):
        return score(self, images) if bool(images.max() > 0) else {}

    monkeypatch.setattr(type(trained.scorer), "score", looks_at_a_number)
    with pytest.raises(RunError, match="expected one that can be recorded as a graph, got raw"):
        traced(trained)


def test_a_run_in_half_precision_is_refused(run_of):
    trained = load_trained(run_of("raw"))
    trained.config.trainer.precision = "bf16-mixed"
    with pytest.raises(ConfigError, match=r"trainer\.precision: expected a run in 32-true"):
        traced(trained)


def test_more_than_one_file_holds_is_refused(run_of, monkeypatch, tmp_path):
    monkeypatch.setattr(fsad.export.onnx, "LARGEST", 100)
    trained = load_trained(run_of("raw"))
    with pytest.raises(ConfigError, match=r"expected at most 2 GB.*--format pt2"):
        write_onnx(traced(trained), about(trained, Limits(), SEEN), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_exporters_packages_the_command_says_how_to_get_them(
    monkeypatch, run_of, tmp_path, package
):
    monkeypatch.setitem(sys.modules, package, None)
    words = ["export", str(run_of("raw")), "-o", str(tmp_path / "model.onnx")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert done.output.strip() == (
        f"error: {package}: expected the package to be installed, got none. "
        "Install it with: pip install 'fsad[export]'"
    )


def test_without_onnxruntime_reading_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PackageError, match=r"onnxruntime: .* pip install 'fsad\[onnx\]'"):
        load_onnx(tmp_path / "model.onnx")


def test_a_file_that_is_no_exported_model_is_refused(onnx_of, tmp_path):
    import onnx

    with pytest.raises(MissingDataError, match="expected a model's file, got none"):
        load_onnx(tmp_path / "gone.onnx")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(DataError, match="expected an ONNX model, got"):
        load_onnx(path)
    model = onnx.load(onnx_of("raw")[1])
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(DataError, match="expected a model that fsad exported, got one without"):
        load_onnx(path)
    record = {"schema": 7, "of": "another shape"}
    with pytest.raises(DataError, match="expected a record with schema 1, got 7"):
        Metadata.from_json(json.dumps(record), "model.onnx")


def test_a_folder_as_the_output_is_refused_with_a_name_for_the_file(tmp_path):
    words = ["export", str(tmp_path / "bolt"), "-o", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert f"--output: expected the name of a file, got the folder '{tmp_path}'." in done.output
    assert f"-o {tmp_path / 'bolt.onnx'}" in done.output


def test_a_run_that_is_refused_leaves_no_folder_behind(tmp_path):
    words = ["export", str(tmp_path / "gone"), "-o", str(tmp_path / "new" / "model.onnx")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "expected a run's folder with config.yaml" in done.output
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def kept(run_of, tmp_path_factory):
    """A run that keeps its exported file."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    shutil.copytree(run_of("raw"), folder)
    done = CliRunner().invoke(app, ["export", str(folder)])
    assert done.exit_code == 0, done.output
    assert (folder / "categories" / "tile" / "model.onnx").is_file()
    return folder


def an_image(run):
    data = instantiate(OmegaConf.load(run / "config.yaml").data, _convert_="all")
    return data.for_category("tile").test_samples[0].files["depth"]


def test_a_run_that_keeps_its_exported_file_predicts_without_the_training_stack(kept, tmp_path):
    image = str(an_image(kept))
    done = predict_without_training(str(kept), image, "--out", str(tmp_path / "out"), "--no-maps")
    assert done.returncode == 0, done.stderr
    assert "model.onnx, which was exported from this run" in done.stdout
    said = next(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))
    known = next(csv.DictReader((kept / "scores.csv").read_text().splitlines()))
    assert float(said["score"]) == pytest.approx(float(known["score"]), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("categories/tile/category.json", lambda text: text + b"\n"),
        ("categories/tile/threshold.json", None),
        ("config.yaml", lambda text: text + b"\n"),
        ("categories/tile/model.onnx", lambda text: text[:1000]),
    ],
)
def test_a_kept_file_is_not_used_once_it_or_the_run_is_another(kept, tmp_path, name, write):
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    if write:
        (run / name).write_bytes(write((run / name).read_bytes()))
    else:
        Threshold.none("of another test").write(run / name)
    words = ["predict", str(run), str(an_image(kept)), "--out", str(tmp_path / "out"), "--no-maps"]
    done = CliRunner().invoke(app, words)
    said = " ".join(done.output.split())
    assert done.exit_code == 0, said
    assert re.search(r"model\.onnx: .*Export it again with: fsad export .*Using PyTorch", said)
    assert "as exported from this run" not in said
    assert ("no threshold: of another test" in said) == (write is None)


def test_without_onnxruntime_a_kept_file_is_left_to_pytorch_and_it_says_so(
    kept, tmp_path, monkeypatch
):
    monkeypatch.setattr("fsad.predict.onnx.find_spec", lambda _: None)
    words = ["predict", str(kept), str(an_image(kept)), "--out", str(tmp_path), "--no-maps"]
    said = " ".join(CliRunner().invoke(app, words).output.split())
    assert "pip install 'fsad[onnx]'. Using PyTorch instead" in said


@pytest.mark.parametrize("words", [["--device", "cuda:99"], ["--category", "none"]])
def test_what_a_kept_file_cannot_do_is_left_to_the_run(kept, words):
    done = CliRunner().invoke(app, ["predict", str(kept), str(an_image(kept)), *words])
    assert done.exit_code != 0
    assert "model.onnx computes" not in done.output
    assert f"error: {words[0].lstrip('-')}: expected" in " ".join(done.stderr.split())


def test_a_torch_export_needs_a_name(kept):
    done = CliRunner().invoke(app, ["export", str(kept), "--format", "pt2"])
    assert done.exit_code != 0
    assert "--output: expected a file for --format pt2, got none" in " ".join(done.stderr.split())
