"""Whole runs on photographs: from folders to results, predictions and one camera to another."""

import json

import numpy as np
import pytest
from hydra.errors import InstantiationException
from outcome import numbers
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

import fsad
from fsad.cli import app
from fsad.errors import ConfigError

FIVE = ("image_auroc", "pixel_auroc", "pixel_auroc_part", "aupro30", "aupro05")
QUIET = ("maps=false", "threshold=false")
NO_PART = "neither depth nor a mask tells where the part is"


def write(path, seed, defective=False, tint=(255, 200, 150)):
    """A striped plate in a colour, with a dark spot where it is defective."""
    rng = np.random.default_rng(seed)
    stripes = 0.6 + 0.2 * np.sin(np.arange(64) / 3)[:, None, None]
    pixels = stripes * np.array(tint) + rng.normal(0, 4, (64, 64, 3))
    if defective:
        pixels[20:32, 30:42] *= 0.2
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A category of photographs with masks, and one of two cameras."""
    root = tmp_path_factory.mktemp("photographs")
    spot = np.zeros((64, 64), np.uint8)
    spot[20:32, 30:42] = 255
    for number in range(4):
        write(root / f"plain/plate/train/good/{number}.png", number)
        for camera in ("rgb", "ir"):
            write(root / f"cameras/plate/train/good/{camera}/{number}.png", number)
    for kind in ("good", "spot"):
        for number in range(2):
            seed = 10 + number
            write(root / f"plain/plate/test/{kind}/{number}.png", seed, kind == "spot")
            for camera, tint in (("rgb", (200, 90, 40)), ("ir", (120, 120, 120))):
                path = root / f"cameras/plate/test/{kind}/{camera}/{number}.png"
                write(path, seed, kind == "spot", tint)
    (root / "plain/plate/ground_truth/spot").mkdir(parents=True)
    (root / "cameras/plate/test/spot/gt").mkdir()
    for number in range(2):
        Image.fromarray(spot).save(root / f"plain/plate/ground_truth/spot/{number}_mask.png")
        Image.fromarray(spot).save(root / f"cameras/plate/test/spot/gt/{number}.png")
    return root


@pytest.fixture
def start(run, root):
    """``start(folder, data, *words)``: a run on one of these."""

    def start(folder, data, *words, without=()):
        place = root / ("plain" if data == "image_folder" else data)
        named = (f"data={data}", f"data.root={place}", "data.category=plate", "backbone=tiny")
        small = ("data.reader", "data.category", *without)
        return run(folder, *named, *words, without=small)

    return start


@pytest.fixture(scope="module")
def found(run, root, tmp_path_factory):
    """A finished run of subspace on the photographs."""
    words = (
        "data=image_folder",
        f"data.root={root / 'plain'}",
        "data.category=plate",
        "backbone=tiny",
        "method=subspace",
    )
    without = ("data.reader", "data.category", "method.")
    return run(tmp_path_factory.mktemp("subspace"), *words, without=without)


def test_a_run_writes_what_it_knows_and_null_with_the_reason_for_the_rest(found):
    entry = numbers(found)[0]["plate"]
    assert entry["image_auroc"] == 1.0
    assert entry["pixel_auroc"] > 0.95
    assert entry["aupro30"] > 0.9
    assert entry["pixel_auroc_part"] is None
    assert entry["undefined"] == {"pixel_auroc_part": NO_PART}
    assert set(FIVE) <= entry.keys()
    assert entry["target_only"]["image_auroc"] == 1.0
    assert (entry["source_only"], entry["part_mask"]) == ({}, {})
    assert entry["n_source"] == 0
    assert all(shot.startswith("plate/train/good/") for shot in entry["shots"])
    result = json.loads((found / "result.json").read_text())
    assert result["mean"]["pixel_auroc_part"] is None
    table = (found / "table.md").read_text()
    assert NO_PART in table
    assert "part mask  " not in table


def test_a_category_takes_less_than_a_megabyte(found):
    path = found / "categories/plate/banks.safetensors"
    assert path.stat().st_size < 10**6
    with safe_open(path, framework="pt") as banks:
        rows = banks.get_tensor("target.features")
    assert len(rows) < 60  # one mean, and axes: not the patches, of which there are 1,024
    gram = rows[1:].double() @ rows[1:].double().T
    np.testing.assert_allclose(gram, np.eye(len(rows) - 1), atol=1e-5)


def test_shots_are_held_out_and_new_photographs_decided_on(found, root, tmp_path):
    threshold = numbers(found)[0]["plate"]["threshold"]
    assert threshold["shots"] == 2
    words = ["predict", str(found), str(root / "plain/plate/test/spot"), "--out"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "2 images predicted, 2 defective" in done.output
    overlay = np.asarray(Image.open(next((tmp_path / "out/overlays").glob("*.png"))))
    assert overlay.shape == (64, 64, 3)
    model = fsad.load(found)
    worst = np.unravel_index(
        model.predict(root / "plain/plate/test/spot/0.png").map.argmax(), (64, 64)
    )
    assert 18 <= worst[0] < 34
    assert 28 <= worst[1] < 44


def test_the_report_shows_the_photographs(found, tmp_path):
    page = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["report", str(found), "--out", str(page)])
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert "plate/test/spot/0.png" in text
    assert "data:image" in text


@pytest.mark.slow
@pytest.mark.parametrize("method", ["padim", "anomalydino", "raw", "sift", "patchcore"])
def test_every_method_of_one_bank_runs_on_photographs(start, tmp_path, method):
    folder = start(tmp_path, "image_folder", f"method={method}", *QUIET, without=("method.",))
    assert numbers(folder)[0]["plate"]["image_auroc"] is not None


def test_one_camera_helps_to_judge_the_other(start, tmp_path):
    folder = start(tmp_path / "ir", "cameras", *QUIET)
    entry = numbers(folder)[0]["plate"]
    assert entry["n_source"] == 4
    assert all("/ir/" in shot for shot in entry["shots"])
    assert entry["source_only"]["image_auroc"] is not None
    turned = ("data.source.modality=ir", "data.target.modality=rgb")
    words = ("method=source_bank", *turned, *QUIET)
    folder = start(tmp_path / "rgb", "cameras", *words, without=("method.",))
    assert all("/rgb/" in row for row in (folder / "scores.csv").read_text().splitlines()[1:])


def test_a_source_subspace_needs_source_images(start, tmp_path):
    both = ("method=subspace", "method.source=true", *QUIET)
    folder = start(
        tmp_path / "both", "cameras", *both, "protocol=cross_domain", without=("method.",)
    )
    entry = numbers(folder)[0]["plate"]
    assert entry["source_share"] == pytest.approx(0.6, abs=0.35)
    assert entry["source_only"]["image_auroc"] is not None
    with pytest.raises(ConfigError, match="expected one with the role 'source'"):
        start(tmp_path / "alone", "cameras", *both, without=("method.",))


def test_generated_photographs_need_no_download(run, tmp_path):
    folder = run(tmp_path, "method=subspace", "data.modality=rgb", *QUIET, without="method.")
    entry = numbers(folder)[0]["tile"]
    assert all("/rgb/" in shot for shot in entry["shots"])
    assert entry["pixel_auroc_part"] is not None  # the pairs' depth tells where the part is


@pytest.mark.parametrize("name", ["source", "target"])
def test_a_modality_in_place_of_its_settings_is_refused(start, tmp_path, name):
    with pytest.raises(ConfigError, match=rf"data\.{name}: expected settings, .*modality=ir\.$"):
        start(tmp_path, "cameras", f"data.{name}=ir")


def test_photographs_alone_have_no_second_modality(start, tmp_path):
    message = r"expected another than protocol\.modality, got 'rgb' for both\. .*method=patchcore"
    with pytest.raises(InstantiationException, match=message):  # train.py says its cause
        start(tmp_path, "image_folder", *QUIET)
