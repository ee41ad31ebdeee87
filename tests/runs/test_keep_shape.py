"""Whole runs on photographs that keep their shape: results, pictures, predictions, files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from outcome import numbers
from PIL import Image

import fsad
from fsad.data.images import photograph_size
from fsad.data.input import input_spec
from fsad.engine.assemble import build_extractor
from fsad.engine.trained import load_trained
from fsad.errors import ConfigError, DataError
from fsad.export.from_run import export_run
from fsad.predict.from_run import load_run
from fsad.predict.onnx import load_onnx

TALL, OTHER = (120, 48), (60, 60)  # height and width
SPOT = (slice(80, 96), slice(6, 18))
CANVAS = {"height": 160, "width": 64, "cell": 8, "aspect": 0.4}


def plate(seed, shape=TALL, spot=None):
    """A smooth plate; where it is defective, a dark spot."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    grey = 150 + 40 * np.sin(rows / 9) + 20 * np.cos(columns / 7)
    grey = grey + np.random.default_rng(seed).normal(0, 2, shape)
    if spot:
        grey[spot] = 10
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def write(root, shape, spot, other=False, category="plate"):
    files = {f"train/good/{n}": plate(n, shape) for n in range(3)}
    files |= {f"test/good/{n}": plate(10 + n, shape) for n in range(2)}
    files["test/spot/0"] = plate(20, shape, spot)
    truth = np.zeros(shape, np.uint8)
    truth[spot] = 255
    files["ground_truth/spot/0_mask"] = truth
    if other:
        files["test/spot/1"] = plate(21, OTHER, (slice(40, 52), slice(44, 56)))
        truth = np.zeros(OTHER, np.uint8)
        truth[40:52, 44:56] = 255
        files["ground_truth/spot/1_mask"] = truth
    for name, pixels in files.items():
        path = root / f"{category}/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    return write(tmp_path_factory.mktemp("tall"), TALL, SPOT, other=True)


@pytest.fixture
def start(run):
    """``start(folder, root, *words)``: a run on photographs, that keep their shape if asked to."""

    def start(folder, root, *words):
        named = ("data=image_folder", f"data.root={root}", "data.category=plate", "backbone=tiny")
        return run(folder, *named, *words, without=("data.reader", "data.category", "method."))

    return start


@pytest.fixture(scope="module")
def kept(run, tall, tmp_path_factory):
    """A finished run of patchcore on tall plates, with its exported file."""
    named = ("data=image_folder", f"data.root={tall}", "data.category=plate", "backbone=tiny")
    words = ("method=patchcore", "method.reweight=3", "data.resize=keep", "report=true")
    folder = tmp_path_factory.mktemp("kept")
    return run(
        folder, *named, *words, without=("data.reader", "data.category", "method.", "report")
    )


def test_the_canvas_is_recorded_and_measured_on(kept):
    category = fsad.read_result(kept / "result.json").categories["plate"]
    assert category.input["canvas"] == CANVAS
    assert all(0 <= category.fused[name] <= 1 for name in ("image_auroc", "pixel_auroc", "aupro30"))
    strips = sorted((kept / "maps/plate").glob("*.png"))
    assert [photograph_size(path)[0] for path in strips] == [160] * 4


def test_the_page_of_the_run_has_its_cards_on_the_canvas(kept):
    text = (kept / "report.html").read_text(encoding="utf-8")
    assert '"size": [160, 64]' in text or '"size":[160,64]' in text


def test_the_run_read_back_scores_as_the_test_did(kept, tall):
    model = load_run(kept)
    for name, score in scored(kept):
        prediction = model.predict(tall / name)
        assert prediction.score == pytest.approx(score, rel=1e-5)
        assert prediction.map.shape == (OTHER if "spot/1" in name else TALL)


def scored(run):
    rows = (run / "scores.csv").read_text(encoding="utf-8").splitlines()
    head = rows[0].split(",")
    cells = [dict(zip(head, row.split(","), strict=True)) for row in rows[1:]]
    return [(row["image"], float(row["score"])) for row in cells]


def test_what_stands_beside_an_image_is_neither_scored_nor_shown(kept, tall):
    trained = load_trained(kept)
    spec = input_spec("rgb", trained.image_size, {"profile": trained.profile.to_json()})
    path = tall / "plate/test/spot/1.png"
    pixels = torch.from_numpy(spec.see(spec.read(path), "a").pixels)[None]
    other = torch.where(pixels < 0, -50.0, pixels)
    one, two = (trained.score(images)["target"] for images in (pixels, other))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.patches, two.patches)
    assert one.patches.shape == (1, 20, 8)
    assert (one.patches[0, 8:] == one.patches[0, 7:8]).all()  # the square's 64 x 64 pixels


def test_an_exported_file_scores_every_image_as_the_run_does(kept, tall):
    exported = export_run(kept)
    assert exported.about.profile["canvas"] == CANVAS
    assert "profile.canvas" in exported.about.depth
    by_file, by_run = load_onnx(exported.path), load_run(kept)
    for path in sorted(tall.glob("plate/test/*/*.png")):
        one, two = by_file.predict(path), by_run.predict(path)
        assert one.score == pytest.approx(two.score, rel=1e-4)
        np.testing.assert_allclose(one.map, two.map, atol=1e-3)
        assert one.notes == two.notes
        assert bool(one.notes) == (path.stem == "1" and path.parent.name == "spot")
    canvas = replace(exported.about, profile={**exported.about.profile, "canvas": None})
    assert input_spec("rgb", 64, json.loads(canvas.to_json())).canvas.shape == (64, 64)


def test_testing_again_takes_the_canvas_of_the_training(run, kept, tmp_path):
    folder = run(tmp_path, f"ckpt={kept}", "maps=false", "threshold=false", "report=false")
    again = fsad.read_result(folder / "result.json").categories["plate"]
    first = fsad.read_result(kept / "result.json").categories["plate"]
    assert (again.input, again.fused) == (first.input, first.fused)
    assert scored(folder) == scored(kept)


def test_a_defect_is_found_where_it_is(start, tall, tmp_path):
    model = load_run(start(tmp_path, tall, "method=raw", "data.resize=keep", "data.image_size=48"))
    prediction = model.predict(tall / "plate/test/spot/0.png")
    assert prediction.map.shape == TALL
    row, column = np.unravel_index(prediction.map.argmax(), TALL)
    assert SPOT[0].start <= row < SPOT[0].stop
    assert SPOT[1].start <= column < SPOT[1].stop
    assert prediction.map[SPOT].mean() > 5 * np.median(prediction.map)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("method=anomalydino", "method.rotations=2"), id="mean of the worst"),
        pytest.param(("method=padim",), id="of places"),
    ],
)
def test_a_square_image_gives_the_same_bits_either_way(start, tmp_path, words):
    root = write(tmp_path / "data", (72, 72), (slice(20, 30), slice(40, 52)))
    square, keep = (
        start(tmp_path / rule, root, *words, f"data.resize={rule}", "maps=false")
        for rule in ("square", "keep")
    )
    assert scored(square) == scored(keep)
    one, two = numbers(square), numbers(keep)
    assert two[0]["plate"]["input"].pop("canvas") == {**CANVAS, "height": 64, "aspect": 1.0}
    assert one == two
    limits = [
        json.loads((folder / "categories/plate/threshold.json").read_text())
        for folder in (square, keep)
    ]
    assert limits[0]["image"] == limits[1]["image"]


def test_what_was_made_for_squares_is_not_taken_for_another_shape(start, tall, tmp_path):
    words = ("method=patchcore", "cache=default", f"paths.cache_dir={tmp_path / 'cache'}")
    quiet = ("maps=false", "threshold=false")
    reused = {}
    for name in ("square", "keep", "again"):
        rule = "square" if name == "square" else "keep"
        folder = start(tmp_path / name, tall, *words, *quiet, f"data.resize={rule}")
        result = fsad.read_result(folder / "result.json")
        reused[name] = result.categories["plate"].reused
    assert reused == {"square": [], "keep": [], "again": ["banks", "test"]}


@pytest.fixture
def built(monkeypatch):
    """Height and width of every canvas that a backbone is built for, in order."""
    canvases = []

    def counted(*args, canvas=None, **words):
        canvases.append(canvas.shape)
        return build_extractor(*args, canvas=canvas, **words)

    monkeypatch.setattr("fsad.engine.assemble.build_extractor", counted)
    return canvases


def test_categories_of_one_canvas_share_a_backbone_and_finished_ones_need_none(
    start, run, tmp_path, built
):
    shapes = {"a": TALL, "b": (TALL[0] + 1, TALL[1]), "c": (48, 60)}  # a and b: 160 x 64 pixels
    for category, shape in shapes.items():
        root = write(tmp_path / "data", shape, (slice(8, 20), slice(6, 18)), category=category)
    words = ("method=patchcore", "data.resize=keep", "maps=false", "report=true", "data.shots=2")
    folder = start(tmp_path / "run", root, *words, "data.category=all")
    assert built == [(160, 64), (64, 80)]
    alone = start(tmp_path / "alone", root, *words, "data.category=b")
    assert scored(alone) == [row for row in scored(folder) if row[0].startswith("b/")]

    built.clear()
    before = numbers(folder)
    run(folder, f"resume={folder}")
    assert built == []
    (folder / "categories/b/category.json").unlink()
    run(folder, f"resume={folder}")
    assert built == [(160, 64)]
    assert numbers(folder) == before


def test_training_images_of_two_shapes_are_refused(start, tmp_path):
    root = write(tmp_path / "data", TALL, SPOT)
    Image.fromarray(plate(0, OTHER)).save(root / "plate/train/good/0.png")
    with pytest.raises(DataError, match=r"^data\.resize: expected training images of one width"):
        start(tmp_path / "run", root, "method=patchcore", "data.resize=keep", "data.shots=3")


def test_depth_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match=r"^data\.resize: expected square with a data set of de"):
        run(tmp_path, "method=patchcore", "data.resize=keep", without="method.")
