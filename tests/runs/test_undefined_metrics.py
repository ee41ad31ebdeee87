"""Runs whose test images do not define a metric: they end, and say why the number is not there."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sensor_scenes import SIZE, WORDS, write
from small_runs import settled
from typer.testing import CliRunner

import fsad
from fsad.cli import app
from fsad.errors import ConfigError
from fsad.metrics import METRICS
from fsad.run.job import run_job

PIXELS = {"pixel_auroc", "pixel_auroc_part", "aupro30", "aupro05"}


def without_defects(root):
    shutil.rmtree(root / "part/test/dent")


def without_good(root):
    shutil.rmtree(root / "part/test/good")


def without_masks(root):
    shutil.rmtree(root / "part/test/dent/gt")


def without_one_mask(root):
    (root / "part/test/dent/gt/001.png").unlink()


def with_empty_masks(root, stems=("000", "001", "002")):
    for stem in stems:
        path = root / f"part/test/dent/gt/{stem}.png"
        Image.fromarray(np.zeros((SIZE, SIZE), bool)).save(path)


def with_one_empty_mask(root):
    with_empty_masks(root, ["002"])


def without_test(root):
    shutil.rmtree(root / "part/test")


def with_empty_test(root):
    shutil.rmtree(root / "part/test")
    (root / "part/test/good").mkdir(parents=True)


CASES = {
    "no defective image": (without_defects, {*METRICS}, "no test image is defective"),
    "no good image": (without_good, {"image_auroc"}, "no test image is good"),
    "no mask": (without_masks, PIXELS, "3 of 3 defective test images have no mask"),
    "one mask lost": (without_one_mask, PIXELS, "1 of 3 defective test images has no mask"),
    "empty masks": (with_empty_masks, PIXELS, "3 of 3 defective test images have an empty mask"),
    "an empty mask": (with_one_empty_mask, PIXELS, "1 of 3 defective test images has an empty"),
    "no test folder": (without_test, {*METRICS}, "there is no test image"),
    "an empty test folder": (with_empty_test, {*METRICS}, "there is no test image"),
}


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "data")


def start(root, folder, *words):
    value = run_job(settled([*WORDS, f"data.root={root}", f"paths.output_dir={folder}", *words]))
    return value, json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """``ended(name)``: a case's run, its value and its result, the same one every time."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("ended")
            root = write(folder / "data")
            CASES[name][0](root)
            made[name] = folder / "run", *start(root, folder / "run", "logger=csv")
        return made[name]

    return get


@pytest.mark.parametrize("name", CASES)
def test_the_run_ends_with_the_reason_and_its_model_decides(ended, tmp_path, name):
    _, undefined, reason = CASES[name]
    folder, value, result = ended(name)
    part = result["categories"]["part"]
    assert {metric for metric in METRICS if part[metric] is None} == undefined
    assert part["undefined"].keys() == undefined
    assert any(why.startswith(reason) for why in part["undefined"].values())
    for scores in (part["part_mask"], part["target_only"] or part["part_mask"]):
        assert {metric for metric in METRICS if scores[metric] is None} == undefined
    assert {metric for metric in METRICS if result["mean"][metric] is None} == undefined
    assert value == part["image_auroc"]
    assert "NaN" not in (folder / "result.json").read_text()

    new = write(tmp_path / "new", train=1, good=1, dented=1, seed=1)
    model = fsad.load(folder)
    assert part["threshold"]["image"] == model.limits.image is not None
    for kind, decision in (("good", "good"), ("dent", "defective")):
        path = new / f"part/test/{kind}/xyz/000.tiff"
        assert model.predict(path).decision == decision


@pytest.mark.parametrize("name", ["no defective image", "no mask", "no test folder"])
def test_table_report_and_resume_take_such_a_run(ended, tmp_path, name):
    _, undefined, reason = CASES[name]
    folder = shutil.copytree(ended(name)[0], tmp_path / "run")
    before = (folder / "categories/part/category.json").read_bytes()
    run_job(settled([f"resume={folder}"]))
    assert (folder / "categories/part/category.json").read_bytes() == before

    cli = CliRunner()
    made = cli.invoke(app, ["table", str(folder), "--out", str(tmp_path)])
    assert made.exit_code == 0, made.stderr
    text = (tmp_path / "table.md").read_text()
    assert f"–: {reason}" in text
    (row,) = (line for line in text.splitlines() if "| fused |" in line)
    assert row.count("–") == len(undefined)
    assert cli.invoke(app, ["report", str(folder)]).exit_code == 0
    page = (folder / "report.html").read_text()
    assert f"–: {reason}" in page
    assert "is without cards" not in page
    assert ("Trivial statistics" in page) == (name == "no mask")
    assert "NaN" not in page.split("</script>")[-1]


def test_the_mean_is_over_the_categories_that_have_the_metric_and_says_so(root, tmp_path):
    write(tmp_path / "more", seed=1)
    shutil.move(tmp_path / "more/part", root / "whole")
    without_defects(root)
    _, result = start(root, tmp_path / "run", "data.category=all")
    part, whole = (result["categories"][name] for name in ("part", "whole"))
    assert part["image_auroc"] is None
    assert result["mean"] == {metric: whole[metric] for metric in METRICS}
    assert (
        "mean image_auroc: over 1 of 2 categories, without part, where it is undefined"
        in result["notes"]
    )
    text = (tmp_path / "run/table.md").read_text()
    (mean,) = (line for line in text.splitlines() if "| mean |" in line and "| fused |" in line)
    assert all(f"| {whole[metric]:.3f} (1 of 2) |" in mean for metric in METRICS)
    assert "(1 of 2): a mean over 1 of 2 categories" in text


@pytest.mark.parametrize("name", ["no defective image", "no test folder"])
def test_such_a_run_is_exported_and_the_file_decides(root, tmp_path, caplog, name):
    caplog.set_level("INFO")
    CASES[name][0](root)
    start(root, tmp_path / "run", "method=raw", "maps=false", "export=true")  # small to export
    made = "4 generated images instead of the run's own (there is no test image)"
    images = made if name == "no test folder" else "5 of its images"
    assert f"it scores as the run does on {images}: scores within" in caplog.text
    new = write(tmp_path / "new", train=1, good=1, dented=1, seed=1)
    model = fsad.load(tmp_path / "run/categories/part/model.onnx")
    for kind, decision in (("good", "good"), ("dent", "defective")):
        assert model.predict(new / f"part/test/{kind}/xyz/000.tiff").decision == decision


@pytest.mark.parametrize("name", ["no mask", "no test folder"])
def test_an_undefined_metric_is_not_logged_and_makes_no_empty_row(ended, name):
    folder, _, _ = ended(name)
    undefined = CASES[name][1]
    logs = [*folder.rglob("metrics.csv")]
    rows = [row for path in logs for row in csv.DictReader(path.read_text().splitlines())]
    logged = {key for row in rows for key, value in row.items() if value and key != "step"}
    assert {f"test/{metric}" for metric in METRICS} & logged == {
        f"test/{metric}" for metric in METRICS if metric not in undefined
    }
    assert {f"mean/{metric}" for metric in METRICS} & logged == {
        f"mean/{metric}" for metric in METRICS if metric not in undefined
    }
    assert all(any(value for key, value in row.items() if key != "step") for row in rows)


def test_a_truth_that_nobody_marked_is_grey_in_the_pictures(root, tmp_path):
    with_one_empty_mask(root)
    (root / "part/test/dent/gt/001.png").unlink()
    start(root, tmp_path / "run")
    truths = {}
    for path in (tmp_path / "run/maps/part").glob("*.png"):
        strip = np.asarray(Image.open(path))
        third = 2 * (112 + 4)
        truths[path.stem] = set(np.unique(strip[:, third : third + 112]))
    assert truths["dent_001"] == truths["dent_002"] == {128}
    assert truths["dent_000"] == {0, 255}
    assert truths["good_000"] == {0}


@pytest.mark.parametrize("method", ["hypertrans", "ast", "part_mask", "raw"])
def test_other_methods_need_no_test_images_either(root, tmp_path, method):
    without_test(root)
    words = [f"method={method}", "maps=false", "data.image_size=64"]
    words += (
        ["method.perturb.epochs=1", "method.rectify.epochs=2"] if method == "hypertrans" else []
    )
    if method == "ast":
        words += ["method.teacher.epochs=2", "method.student.epochs=2", "method.student.hidden=16"]
    _, result = start(root, tmp_path / "run", *words)
    assert result["categories"]["part"]["undefined"]["image_auroc"] == "there is no test image"


@pytest.mark.slow
def test_several_processes_need_test_images(root, tmp_path):
    without_test(root)
    two = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")
    with pytest.raises(
        ConfigError,
        match=r"trainer\.devices: expected 1 without test images, got 2\. Say trainer\.devices=1",
    ):
        start(root, tmp_path / "run", *two)
    assert not list((tmp_path / "run").rglob("*.safetensors"))  # nothing was trained for nothing
