"""A trained model is given references of a part that it never saw, from files."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import fsad
from fsad.cli import app
from fsad.engine.trained import load_trained
from fsad.errors import ConfigError, DataError, RunError
from fsad.predict.references import refer_to
from fsad.results.dataset import open_dataset
from fsad.results.record import read_result

WORDS = (
    "source.reader.size=64",
    "source.reader.n_train=1",
    "source.reader.n_validation=1",
    "source.reader.n_test_good=2",
    "source.reader.n_test_defect=1",
    "method.fit.epochs=1",
    "method.fit.episodes=4",
    "method.vectors=6",
    "data.category=all",
    "maps=false",
)


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    """A run with references of its own for ``knob`` and ``tile``."""
    return run(tmp_path_factory.mktemp("ideal"), "method=ideal", *WORDS, without="method.")


@pytest.fixture(scope="module")
def references(trained):
    """``references("knob")``: the files of a category's own references and of its test images."""
    root = open_dataset(read_result(trained / "result.json")).root

    def references(category):
        entry = json.loads((trained / "result.json").read_text())["categories"][category]
        defective = root / entry["anomalies"][0]
        mask = defective.parents[1] / "gt" / defective.name
        with (trained / f"categories/{category}/scores.csv").open() as file:
            tested = {root / row["image"]: float(row["score"]) for row in csv.DictReader(file)}
        return [root / entry["shots"][0]], [defective], [mask], tested

    return references


@pytest.fixture
def broken(references, tmp_path):
    """``broken(pixels)``: references whose mask has these pixels."""

    def broken(pixels):
        normal, defective, _, _ = references("knob")
        Image.fromarray(pixels).save(tmp_path / "mask.png")
        return normal, defective, [tmp_path / "mask.png"]

    return broken


def test_with_a_runs_own_references_it_gives_the_runs_own_scores(trained, references):
    normal, defective, masks, tested = references("knob")
    other = fsad.load(trained, "tile")
    image = next(iter(tested))
    assert other.predict(image).score != pytest.approx(tested[image], rel=1e-4)
    model = refer_to(other, normal, defective, masks)
    for path, score in tested.items():
        assert model.predict(path).score == pytest.approx(score, rel=1e-5)
        assert model.predict(path).decision is None


def test_the_command_takes_references_and_needs_no_category(trained, references, tmp_path):
    normal, defective, masks, tested = references("tile")
    words = ["--normal", normal[0], "--defective", defective[0], "--mask", masks[0]]
    words = ["predict", trained, *list(tested)[:2], "--out", tmp_path / "out", *words]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "no threshold: the run's own is of other references" in done.output
    with (tmp_path / "out/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [float(row["score"]) for row in rows]
    assert found == pytest.approx(list(tested.values())[:2], rel=1e-5)


def test_what_is_odd_about_a_reference_is_said(trained, references, tmp_path, caplog):
    normal, defective, masks, _ = references("knob")
    pixels = np.full((64, 128, 3), 90, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    refer_to(fsad.load(trained, "tile"), [*normal, tmp_path / "wide.png"], defective, masks)
    said = [record.getMessage() for record in caplog.records if "wide.png" in record.getMessage()]
    assert any("expected some contrast, got the same colour everywhere" in line for line in said)
    assert any("2 : 1" in line or "width" in line for line in said)  # unlike the first reference


def test_an_empty_mask_is_named(trained, broken):
    normal, defective, masks = broken(np.zeros((64, 64), np.uint8))
    message = re.escape(
        f"{masks[0]}: expected a mask that marks the defect of {defective[0].name}, got an empty "
        "one. What is not black is the defect."
    )
    with pytest.raises(DataError, match=f"^{message}$"):
        refer_to(fsad.load(trained, "knob"), normal, defective, masks)


def test_a_mask_of_another_size_is_named(trained, broken):
    normal, defective, masks = broken(np.full((64, 63), 255, np.uint8))
    message = r"mask\.png: expected the size of rgb/\d+\.png, \(64, 64\), got \(64, 63\)$"
    with pytest.raises(DataError, match=message):
        refer_to(fsad.load(trained, "knob"), normal, defective, masks)


def test_all_references_are_given_and_a_mask_for_each_defect(trained, references, tmp_path):
    normal, defective, masks, tested = references("knob")
    start = ["predict", trained, next(iter(tested)), "--out", tmp_path / "out"]
    for words, message in (
        (
            ["--normal", normal[0], "--mask", masks[0]],
            "--normal, --defective, --mask: expected all of them, got --normal and --mask alone. "
            "Give the others too, or leave all of them out.",
        ),
        (
            ["--normal", normal[0], *["--defective", defective[0]] * 2, "--mask", masks[0]],
            "--mask: expected one for each --defective, in their order, got 1 for 2. Add those "
            "that are missing, or leave out what has none.",
        ),
    ):
        done = CliRunner().invoke(app, [str(word) for word in (*start, *words)])
        assert done.exit_code == 1
        assert done.output.splitlines() == [f"error: {message}"]
    assert not (tmp_path / "out").exists()


def test_a_method_without_references_refuses_them(run_of):
    message = (
        "^--normal: expected a run whose method scores by references of the part, got one of "
        "TargetBankScorer. Leave --normal, --defective and --mask out"
    )
    scorer, images = load_trained(run_of("patchcore")).scorer, torch.zeros(1, 3, 64, 64)
    with pytest.raises(RunError, match=message):
        scorer.refer_to(images, images, images[:, 0] > 0)


def test_an_exported_file_holds_the_references_that_it_has(trained, references):
    class Exported:
        image_size = 64

    model = fsad.load(trained, "knob")
    model.scorer = Exported()
    with pytest.raises(ConfigError, match="--normal: expected a run's folder, got an exported"):
        refer_to(model, *references("knob")[:3])
