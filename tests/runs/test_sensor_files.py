"""Whole runs on files as sensors and people write them: the right numbers, or what is wrong."""

import json
import logging
import re

import numpy as np
import pytest
import tifffile
from PIL import Image
from sensor_scenes import SIZE, WORDS, clouds, rewrite, scene, write
from small_runs import settled
from typer.testing import CliRunner

import fsad
from fsad.cli import app
from fsad.data.inspect.check import check
from fsad.errors import DataError
from fsad.run.job import run_job


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "data")


def ended(root, folder, *words):
    """Run the common call on a data set; return the category's result."""
    run_job(
        settled([*WORDS, "maps=false", f"data.root={root}", f"paths.output_dir={folder}", *words])
    )
    return json.loads((folder / "result.json").read_text())["categories"]["part"]


@pytest.fixture
def start(tmp_path):
    """``start(root, *words)``: the common call, in the test's own folder."""
    return lambda root, *words, name="run": ended(root, tmp_path / name, *words)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The run on the scenes as they are, for reading: its folder and its data set."""
    folder = tmp_path_factory.mktemp("plain")
    ended(write(folder / "data"), folder / "run")
    return folder / "run", folder / "data"


def milli_with_sentinel(points):
    lost = np.random.default_rng(1).random(points.shape[:2]) < 0.03
    return np.where(lost[..., None], 65535, points * 1000)


def heights(points):
    points[..., 2] = (0.5 - points[..., 2]) * 1000 - 10
    return points


def to_map(root):
    for path in clouds(root):
        tifffile.imwrite(path, np.ascontiguousarray(tifffile.imread(path)[..., 2]))


def to_png(root):
    for path in list(clouds(root)):
        folder = path.parent.with_name("depth")
        folder.mkdir(exist_ok=True)
        z = (tifffile.imread(path)[..., 2] * 1e4).astype(np.uint16)
        Image.fromarray(z).save(folder / f"{path.stem}.png")
        path.unlink()


def to_upper(root):
    for path in sorted(root.rglob("*.*"))[::2]:
        path.rename(path.with_suffix(path.suffix.upper()))


def to_grey(root):
    for path in root.rglob("rgb/*.png"):
        Image.open(path).convert("L").save(path)


def to_coloured_masks(root):
    for path, mode in zip(sorted(root.rglob("gt/*.png")), ("RGB", "RGBA", "P"), strict=True):
        Image.open(path).convert(mode).save(path)


FORMS = {
    "as MVTec 3D-AD has them": (lambda _: None, ()),
    "millimetres": (lambda root: rewrite(root, lambda points: 1000 * points), ("data.unit=mm",)),
    "65535 for no reading": (
        lambda root: rewrite(root, milli_with_sentinel),
        ("data.invalid=[65535]", "data.unit=mm"),
    ),
    "a range of readings": (
        lambda root: rewrite(root, milli_with_sentinel),
        ("data.z_range=[300,900]",),
    ),
    "heights about a plane": (lambda root: rewrite(root, heights), ()),
    "a camera along -z": (lambda root: rewrite(root, lambda points: -points), ()),
    "depth alone in tiff": (to_map, ()),
    "depth in 16-bit png": (to_png, ()),
    "half in upper case": (to_upper, ()),
    "grey photographs": (to_grey, ()),
    "masks with colours": (to_coloured_masks, ()),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_the_same_scenes_gives_the_numbers_of_the_plain_one(root, start, name):
    change, words = FORMS[name]
    change(root)
    result = start(root, *words)
    assert (result["n_test_good"], result["n_test_defect"], result["n_source"]) == (3, 3, 0)
    assert result["image_auroc"] == pytest.approx(1.0, abs=1e-3)
    # The scenes as MVTec 3D-AD has them: pixel .998, AU-PRO@0.3 .993; the part mask has .905.
    assert result["pixel_auroc"] == pytest.approx(0.998, abs=2e-3)
    assert result["aupro30"] == pytest.approx(0.993, abs=5e-3)
    assert result["part_mask"]["pixel_auroc"] == pytest.approx(0.905, abs=5e-3)


SPOILT = {
    "a value for no reading": (
        lambda root: rewrite(root, milli_with_sentinel),
        r"expected depths that fill their range, got .* say data\.invalid=\[65535\]",
    ),
    "opencv's order": (
        lambda root: rewrite(root, lambda points: points[..., ::-1]),
        r"expected points x, y, z, .* Reverse the last axis: xyz\[\.\.\., ::-1\]",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_shots_that_would_mislead_the_run_are_refused_before_anything_is_computed(
    root, start, tmp_path, name
):
    spoil, message = SPOILT[name]
    spoil(root)
    with pytest.raises(DataError, match=rf"part/train/good/xyz/00\d\.tiff: {message}"):
        start(root)
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_millimetres_without_a_word_are_said_and_change_no_score(root, start, caplog):
    rewrite(root, lambda points: 1000 * points)
    with caplog.at_level(logging.WARNING):
        result = start(root)
    assert "expected points in metres, got some 50" in caplog.text
    assert "say data.unit=mm. Scores are not affected" in caplog.text
    assert result["image_auroc"] == pytest.approx(1.0, abs=1e-3)


def test_test_images_that_can_be_trusted_less_are_counted_and_named(root, start, caplog):
    flying = root / "part/test/good/xyz/001.tiff"
    points = tifffile.imread(flying)
    points[3, 4] = 9
    tifffile.imwrite(flying, points, photometric="rgb")
    tiny, inverted = (root / f"part/test/dent/gt/00{index}.png" for index in (0, 1))
    mask = np.zeros((SIZE, SIZE), bool)
    mask[40, 40] = True
    Image.fromarray(mask).save(tiny)
    Image.fromarray(~np.asarray(Image.open(inverted))).save(inverted)
    with caplog.at_level(logging.WARNING):
        notes = start(root, "data.image_size=56")["notes"]
    for line in (
        r"1 of 6 test images look wrong, good/001: stray readings that flatten the relief",
        r"1 of 3 defects are smaller than a pixel at data\.image_size=56, dent/000: they can",
        r"1 masks mark more than half of the image, dent/001: if they are inverted",
    ):
        assert re.search(line, caplog.text)
        assert any(re.search(line, note) for note in notes)


def test_a_defect_of_two_pixels_in_a_large_image_is_in_the_truth_and_in_the_depth(tmp_path, start):
    root, rng = tmp_path / "large", np.random.default_rng(0)
    for place, count in (("train/good", 2), ("test/good", 2), ("test/scratch", 3)):
        for index in range(count):
            folder, (rgb, points, _) = root / "part" / place, scene(rng, False)
            rgb, points = (np.repeat(np.repeat(image, 8, 0), 8, 1) for image in (rgb, points))
            points[..., 2] += rng.normal(0, 2e-4, points.shape[:2])
            mask = np.zeros(points.shape[:2], bool)
            if place == "test/scratch":
                row, column = rng.integers(300, 460, 2)
                mask[row : row + 2, column : column + 2] = True
            points[mask, 2] += 0.01
            for kind in ("rgb", "xyz", "gt"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(rgb).save(folder / f"rgb/{index}.png")
            tifffile.imwrite(folder / f"xyz/{index}.tiff", points, photometric="rgb")
            Image.fromarray(mask).save(folder / f"gt/{index}.png")
    kept, lost = (
        start(root, "data.image_size=224", f"data.shrink={rule}", name=rule)
        for rule in ("area", "nearest")
    )
    assert kept["image_auroc"] == pytest.approx(1.0, abs=1e-3)
    assert kept["pixel_auroc"] > 0.99
    assert lost["image_auroc"] < 0.9
    assert any("3 of 3 defects are smaller than a pixel" in note for note in kept["notes"])


@pytest.fixture
def prepared(root, tmp_path, start):
    """A run on a prepared copy, and new images in metres and in millimetres."""
    copy, new = tmp_path / "copy", tmp_path / "new"
    assert CliRunner().invoke(app, ["data", "prepare", str(root), str(copy)]).exit_code == 0
    start(copy)
    new.mkdir()
    for kind in ("good", "dent"):
        points = tifffile.imread(root / f"part/test/{kind}/xyz/000.tiff")
        tifffile.imwrite(new / f"{kind}_m.tiff", points, photometric="rgb")
        tifffile.imwrite(new / f"{kind}_mm.tiff", 1000 * points, photometric="rgb")
    return tmp_path / "run", new


def test_new_images_of_another_unit_are_refused_and_named_units_give_the_same_score(prepared):
    folder, new = prepared
    model = fsad.load(folder)
    good, dent = (model.predict(new / f"{kind}_m.tiff") for kind in ("good", "dent"))
    assert (good.decision, good.notes) == ("good", ())
    assert dent.decision == "defective"
    message = r"good_mm\.tiff: expected points that reach about 0\.\d+ as in training, got \d+: "
    with pytest.raises(DataError, match=message + "probably millimetres, .* Say --unit mm"):
        model.predict(new / "good_mm.tiff")
    told = CliRunner().invoke(
        app,
        [
            *("predict", str(folder), str(new / "good_mm.tiff"), "--unit", "mm"),
            *("--no-maps", "--out", str(folder / "out")),
        ],
    )
    assert told.exit_code == 0, told.stderr
    row = (folder / "out/predictions.csv").read_text().splitlines()[1]
    assert float(row.split(",")[1]) == pytest.approx(good.score, rel=1e-3)


def test_a_copy_of_millimetres_needs_the_unit_and_reads_new_images_in_it(root, tmp_path, start):
    rewrite(root, lambda points: 1000 * points)
    prepare = ["data", "prepare", str(root)]
    refused = CliRunner().invoke(app, [*prepare, str(tmp_path / "refused")])
    assert refused.exit_code == 1
    assert "expected points in metres, got some 50" in refused.stderr
    copied = CliRunner().invoke(app, [*prepare, str(tmp_path / "copy"), "--unit", "mm"])
    assert copied.exit_code == 0, copied.stderr
    masks = [np.asarray(Image.open(path)) > 0 for path in (tmp_path / "copy").rglob("part/*.png")]
    assert np.mean(masks) == pytest.approx(np.pi * 0.35**2, abs=0.01)  # the disc, not the plane
    start(tmp_path / "copy")
    model = fsad.load(tmp_path / "run")
    assert model.input.rules.unit == "mm"
    assert model.predict(root / "part/test/good/xyz/000.tiff").decision == "good"
    assert model.predict(root / "part/test/dent/xyz/000.tiff").decision == "defective"


def test_a_query_that_says_nothing_is_refused_and_one_of_another_aspect_is_told_so(plain):
    folder, root = plain
    model = fsad.load(folder)
    points = tifffile.imread(root / "part/test/good/xyz/000.tiff")
    assert model.predict(points).notes == ()
    (note,) = model.predict(points[12:84]).notes
    assert "expected width : height 1 : 1 as in training, got 1.33 : 1" in note
    spoilt = points.copy()
    spoilt[3, 4] = 9
    with pytest.raises(DataError, match=r"image: expected depths that fill .* data\.z_range=\["):
        model.predict(spoilt)
    with pytest.raises(DataError, match=r"image: expected points x, y, z, .* as OpenCV writes"):
        model.predict(points[..., ::-1])


def test_an_exported_file_reads_images_as_the_run_does(root, start, tmp_path):
    rewrite(root, milli_with_sentinel)
    start(root, "method=raw", "data.invalid=[65535]", "data.unit=mm")  # small to export
    exported = tmp_path / "model.onnx"
    done = CliRunner().invoke(app, ["export", str(tmp_path / "run"), "-o", str(exported)])
    assert done.exit_code == 0, done.stderr
    ours, theirs = fsad.load(tmp_path / "run"), fsad.load(exported)
    assert ours.input == theirs.input
    points = tifffile.imread(root / "part/test/dent/xyz/000.tiff")
    assert theirs.predict(points).score == pytest.approx(ours.predict(points).score, rel=1e-4)
    (note,) = theirs.predict(np.where(points == 65535, 0, points / 1000)).notes
    assert "probably another unit of length; scores are not affected" in note


def test_a_name_that_leaves_no_room_for_a_pictures_name_stops_no_run(root, start, tmp_path):
    for kind, suffix in (("rgb", ".png"), ("xyz", ".tiff"), ("gt", ".png")):
        folder = root / "part/test/dent" / kind
        (folder / f"000{suffix}").rename(folder / ("y" * 250 + suffix))
    start(root, "maps=true")
    pictures = sorted(path.name for path in (tmp_path / "run/maps/part").iterdir())
    good = [f"good_00{index}.png" for index in range(3)]
    assert pictures == ["dent_001.png", "dent_002.png", *good, "image_00002.png"]


def test_test_images_in_another_order_or_of_another_aspect_are_counted_and_named(root, start):
    reversed_order, cropped = (root / f"part/test/good/xyz/00{index}.tiff" for index in (0, 1))
    points = tifffile.imread(reversed_order)
    tifffile.imwrite(reversed_order, points[..., ::-1], photometric="rgb")
    for path in root.glob("part/test/good/*/001.*"):
        if path.suffix == ".tiff":
            tifffile.imwrite(path, tifffile.imread(path)[12:84], photometric="rgb")
        else:
            Image.fromarray(np.asarray(Image.open(path))[12:84]).save(path)
    assert cropped.exists()
    notes = start(root)["notes"]
    assert any("1 of 6 test images look wrong, good/000" in note for note in notes)
    assert any("have another width : height than the shots, or" in note for note in notes)


def test_a_copy_of_points_beside_maps_of_depth_is_read_and_the_maps_are_left_out(root, start):
    to_png_as_well(root)
    assert start(root)["image_auroc"] == pytest.approx(1.0, abs=1e-3)
    report = check(root)
    assert report.problems == []
    assert "part/train/good: 4 files ignored: not a kind of file that is read (depth/000.png" in (
        "".join(report.notes)
    )


def to_png_as_well(root):
    for path in clouds(root):
        folder = path.parent.with_name("depth")
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / f"{path.stem}.png")


def test_a_small_defect_of_a_flat_part_is_scored_and_called_defective(tmp_path, start):
    root, rng = tmp_path / "flat", np.random.default_rng(0)
    for place, count in (("train/good", 3), ("test/good", 2), ("test/burr", 2)):
        for index in range(count):
            folder, (rgb, points, _) = root / "part" / place, scene(rng, False)
            points[..., 2] = 0.5 + rng.normal(0, 1e-4, (SIZE, SIZE))
            mask = np.zeros((SIZE, SIZE), bool)
            if place == "test/burr":
                mask[40:46, 50:56] = True
                points[mask, 2] -= 0.006
            for kind in ("rgb", "xyz", "gt"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(rgb).save(folder / f"rgb/{index}.png")
            tifffile.imwrite(folder / f"xyz/{index}.tiff", points, photometric="rgb")
            Image.fromarray(mask).save(folder / f"gt/{index}.png")
    result = start(root)
    assert result["notes"] == []
    assert result["image_auroc"] == pytest.approx(1.0, abs=1e-3)
    model = fsad.load(tmp_path / "run")
    assert model.predict(root / "part/test/burr/xyz/0.tiff").decision == "defective"
    assert check(root).problems == []


def test_a_model_without_a_unit_takes_queries_in_another_and_says_so(root, start, tmp_path):
    rewrite(root, lambda points: 1000 * points)
    start(root)
    model = fsad.load(tmp_path / "run")
    points = tifffile.imread(root / "part/test/dent/xyz/000.tiff")
    assert model.predict(points).notes == ()
    prediction = model.predict(points / 1000)
    assert prediction.decision == "defective"
    assert "another unit of length" in prediction.notes[0]


def test_numbers_too_large_for_depth_and_images_without_relief_end_no_prediction(plain):
    model = fsad.load(plain[0])
    huge = np.full((96, 96), 1e300)
    with pytest.raises(DataError, match="image: expected at least one depth that is finite"):
        model.predict(huge)
    (note,) = model.predict(np.full((96, 96), 0.5)).notes
    assert note == "image: expected some relief, got the same depth everywhere"
