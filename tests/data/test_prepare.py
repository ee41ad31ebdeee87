"""`prepare`: a copy with the part alone, never touching the source."""

import json
import os
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import tifffile
from box_scene import SIZE, box_points, content, save_png, write_mvtec3d
from PIL import Image

from fsad.data.inspect.check import check
from fsad.data.mvtec3d import MVTec3D
from fsad.data.prepare import writer
from fsad.data.prepare.copies import prepare
from fsad.errors import DataError


def times(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def record_of(root):
    return json.loads((root / "fsad_prepared.json").read_text())


def xyz_file(root, place, stem="000"):
    return root / "box" / place / "xyz" / f"{stem}.tiff"


@pytest.fixture
def source(tmp_path):
    return write_mvtec3d(tmp_path / "download")


@pytest.fixture
def output(tmp_path):
    return tmp_path / "copy"


def test_the_copy_holds_the_box_alone_and_is_read_as_mvtec3d(source, output):
    report = prepare(source, output)
    assert (report.written, report.found, report.failed) == (6, 0, {})
    reader = MVTec3D(output)
    assert reader.categories() == ["box"]
    seeds = {"train/good": 0, "validation/good": 100, "test/good": 200, "test/dent": 300}
    for split in ("train", "validation", "test"):
        for sample in reader.samples("box", split):
            _, box = box_points(seeds[f"{split}/{sample.defect}"] + int(sample.stem), noise=1e-4)
            part = reader.read_part(sample)
            assert (part & box).sum() / (part | box).sum() > 0.95
            np.testing.assert_array_equal(np.isfinite(reader.read(sample, "depth")), part)
    assert check(output).problems == []


def test_rgb_and_masks_are_copied_byte_for_byte(source, output):
    prepare(source, output)
    before, after = content(source), content(output)
    kept = [name for name in before if name.split("/")[-2] in ("rgb", "gt")]
    assert len(kept) == 6 + 3
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


def test_the_source_is_never_written_to(source, output):
    before, stamps = content(source), times(source)
    prepare(source, output)
    assert content(source) == before
    assert times(source) == stamps


def test_a_second_run_changes_no_byte_and_does_no_work(source, output, monkeypatch):
    prepare(source, output)
    stamps = times(output)
    monkeypatch.setattr(writer, "isolate", None)  # calling it would fail
    report = prepare(source, output)
    assert (report.written, report.found) == (0, 6)
    assert times(output) == stamps


@pytest.mark.parametrize("death", [1, 4, 9])
def test_a_killed_run_is_continued_to_the_same_bytes(source, output, tmp_path, monkeypatch, death):
    prepare(source, tmp_path / "unbroken")
    copy, calls = writer._copy, []

    def die(*paths):
        calls.append(paths)
        if len(calls) == death:
            raise KeyboardInterrupt
        copy(*paths)

    monkeypatch.setattr(writer, "_copy", die)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, output)
    monkeypatch.undo()
    leftover = output / f"box/train/good/rgb/.000.png.{17:032x}.part"
    leftover.write_bytes(b"half")  # what SIGKILL left the day before yesterday
    os.utime(leftover, times=(time.time() - 172_800,) * 2)
    finished = {path: stamp for path, stamp in times(output).items() if path.suffix == ".tiff"}

    report = prepare(source, output)
    assert report.written + report.found == 6
    assert report.found >= len(finished) - 1
    assert content(output) == content(tmp_path / "unbroken")
    after = times(output)
    redone = [path for path, stamp in finished.items() if after[path] != stamp]
    assert len(redone) <= 1  # at most the sample that was under way


def test_a_sample_that_lost_a_file_is_made_again(source, output):
    prepare(source, output)
    before = content(output)
    xyz_file(output, "train/good").unlink()
    assert prepare(source, output).written == 1
    assert content(output) == before


def test_the_order_of_categories_leaves_no_trace(source, output, tmp_path):
    write_mvtec3d(source, "cube")
    prepare(source, tmp_path / "all")
    prepare(source, output, categories=["cube"])
    assert list(record_of(output)["categories"]) == ["cube"]
    assert not (output / "box").exists()
    prepare(source, output, categories=["box"])
    assert content(output) == content(tmp_path / "all")


def test_the_record_tells_what_the_copy_was_made_from_and_how(source, output):
    prepare(source, output, threshold=0.004, seed=3)
    record = record_of(output)
    assert record["fsad"] == version("fsad")
    assert record["source"] == {"name": "download", "format": "mvtec3d"}
    assert record["seed"] == 3
    assert record["parameters"]["threshold"] == 0.004
    assert record["parameters"]["unit"] == "metre"
    counts = {"test/dent": 2, "test/good": 1, "train/good": 2, "validation/good": 1}
    assert record["categories"] == {"box": {"samples": counts, "failed": []}}
    assert str(source.parent) not in (output / "fsad_prepared.json").read_text()


def test_a_bad_sample_is_named_and_the_others_are_made(source, output):
    tifffile.imwrite(
        xyz_file(source, "train/good", "001"),
        np.zeros((SIZE, SIZE, 3), np.float32),
        photometric="rgb",
    )
    truncated = xyz_file(source, "test/good")
    truncated.write_bytes(truncated.read_bytes()[:5000])
    save_png(source / "box/test/dent/rgb/000.png", np.zeros((8, 8, 3), np.uint8))
    report = prepare(source, output)
    assert report.written == 3
    reasons = {
        "box/train/good/001": "xyz/001.tiff: expected at least one depth that is finite and not 0",
        "box/test/good/000": "xyz/000.tiff: expected a readable tiff",
        "box/test/dent/000": r"rgb/000.png: expected the size of xyz/000.tiff, \(96, 96\)",
    }
    assert report.failed.keys() == reasons.keys()
    for name, reason in reasons.items():
        with pytest.raises(DataError, match=reason):
            raise DataError(report.failed[name])
    assert record_of(output)["categories"]["box"]["failed"] == sorted(reasons)
    assert not list(output.glob("box/train/good/*/001.*"))


def test_a_mask_of_another_size_is_named(source, output):
    save_png(source / "box/test/dent/gt/000.png", np.zeros((8, 8), np.uint8))
    failed = prepare(source, output).failed
    assert list(failed) == ["box/test/dent/000"]
    assert "gt/000.png: expected the size of xyz/000.tiff" in failed["box/test/dent/000"]


def test_rgb_can_be_blackened_outside_the_part(source, output):
    prepare(source, output, rgb_background="zero")
    sample = MVTec3D(output).samples("box", "train")[0]
    part, rgb = MVTec3D(output).read_part(sample), MVTec3D(output).read(sample, "rgb")
    whole = np.asarray(Image.open(source / "box/train/good/rgb/000.png"))
    np.testing.assert_array_equal(rgb, whole * part[..., None])


def test_a_categorys_licence_goes_where_its_data_goes(source, output):
    (source / "box" / "license.txt").write_text("CC BY-NC-SA 4.0")
    prepare(source, output)
    assert (output / "box" / "license.txt").read_text() == "CC BY-NC-SA 4.0"


@pytest.mark.real
@pytest.mark.skipif("FSAD_REAL_DATA" not in os.environ, reason="FSAD_REAL_DATA is not set")
@pytest.mark.parametrize(
    ("name", "category", "smallest", "largest"),
    [("mvtec3d", "cable_gland", 0.10, 0.25), ("eyecandies_raw", "CandyCane", 0.02, 0.10)],
)
def test_real_parts_are_found_whole(output, name, category, smallest, largest):
    source = Path(os.environ["FSAD_REAL_DATA"]) / name
    report = prepare(source, output, categories=[category])
    assert report.failed == {}
    assert check(output).problems == []
    reader = MVTec3D(output)
    for split in ("train", "validation", "test"):
        for sample in reader.samples(category, split):
            part = reader.read_part(sample)
            assert smallest < part.mean() < largest
            np.testing.assert_array_equal(np.isfinite(reader.read(sample, "depth")), part)


def test_what_is_wrong_with_every_sample_is_told_in_one_line(source, output):
    for path in source.rglob("xyz/*.tiff"):
        tifffile.imwrite(path, 1000 * tifffile.imread(path), photometric="rgb")
    report = prepare(source, output)
    assert len(report.failed) == 6
    (line,) = report.failures()
    assert "box/train/good/000: " in line
    assert "expected points in metres, got some 5" in line
    assert line.endswith("; so 5 more (" + ", ".join(list(report.failed)[1:]) + ")")
