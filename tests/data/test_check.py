"""`check`: every planted fault is found, and nothing else."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from box_scene import SIZE, save_png, write_mvtec3d

from fsad.data.check import check
from fsad.data.prepare import prepare
from fsad.errors import ConfigError, DataError, MissingDataError

EMPTY = np.zeros((SIZE, SIZE), np.uint8)


@pytest.fixture
def mvtec(tmp_path):
    return write_mvtec3d(tmp_path / "mvtec")


def save_xyz(path, xyz):
    tifffile.imwrite(path, xyz.astype(np.float32), photometric="rgb")


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_train(root):
    for path in (root / "box/train/good").glob("*/*"):
        path.unlink()


def halve_valid_depth(root):
    for path in (root / "box/test/dent/xyz").iterdir():
        xyz = tifffile.imread(path)
        xyz[: SIZE // 2] = 0
        save_xyz(path, xyz)


FAULTS = {
    "missing xyz": (
        lambda root: (root / "box/train/good/xyz/001.tiff").unlink(),
        r"box/train/good: expected xyz/\*\.tiff for every image, got 1 of 2 \(none for 001\)",
    ),
    "missing rgb": (
        lambda root: (root / "box/train/good/rgb/001.png").unlink(),
        r"box/train/good: expected rgb/\*\.png for every image, got 1 of 2 \(none for 001\)",
    ),
    "missing gt of a defect": (
        lambda root: (root / "box/test/dent/gt/000.png").unlink(),
        r"box/test/dent: expected gt/\*\.png for every image, got 1 of 2 \(none for 000\)",
    ),
    "truncated xyz": (
        lambda root: truncate(root / "box/train/good/xyz/000.tiff"),
        r"train/good/xyz/000\.tiff: expected a readable tiff, got '.*'",
    ),
    "truncated rgb": (
        lambda root: truncate(root / "box/test/good/rgb/000.png"),
        r"test/good/rgb/000\.png: expected a readable png, got '.*'",
    ),
    "grey rgb": (
        lambda root: save_png(root / "box/train/good/rgb/000.png", EMPTY),
        r"rgb/000\.png: expected an 8-bit RGB image \(H, W, 3\), got \(96, 96\) in mode 'L'",
    ),
    "sizes differ": (
        lambda root: save_png(root / "box/train/good/rgb/000.png", np.zeros((48, 96, 3), "u1")),
        r"box/train/good/000: expected images of one size, got rgb \(48, 96\), depth \(96, 96\)",
    ),
    "all invalid": (
        lambda root: save_xyz(root / "box/train/good/xyz/000.tiff", np.zeros((SIZE, SIZE, 3))),
        r"xyz/000\.tiff: expected at least one depth that is finite and above 0, got none",
    ),
    "empty mask of a defect": (
        lambda root: save_png(root / "box/test/dent/gt/001.png", EMPTY),
        r"box/test/dent/001: expected a mask with the defect marked, got an empty one",
    ),
    "marked mask of a good image": (
        lambda root: save_png(root / "box/test/good/gt/000.png", EMPTY + 255),
        r"box/test/good/000: expected an empty mask for a good image, got marked pixels",
    ),
    "no training images": (empty_train, r"box/train: expected good images, got none"),
    "no good test images": (
        lambda root: (root / "box/test/good").rename(root / "box/test/scratch"),
        r"box/test: expected good images, got none",
    ),
    "no defects": (
        lambda root: (root / "box/test/dent").rename(root / "outside"),
        r"box/test: expected images with defects, got none",
    ),
    "other share of valid depth": (
        halve_valid_depth,
        r"box/test/dent: expected about the share of valid depth of the training images, 90%, got",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(mvtec, fault):
    plant, message = FAULTS[fault]
    plant(mvtec)
    problems = check(mvtec).problems
    found = [problem for problem in problems if re.search(message, problem)]
    assert len(found) == 1
    caused = {"no good test images": 1}.get(fault, 0)  # the renamed folder's mask is empty, too
    assert len(problems) == 1 + caused


def test_all_faults_are_found_in_one_go(mvtec):
    together = [name for name in FAULTS if not name.startswith(("no ", "other"))]
    together.remove("grey rgb")  # the same file as "sizes differ"
    together.remove("truncated xyz")  # the same file as "all invalid"
    for name in together:
        FAULTS[name][0](mvtec)
    problems = "\n".join(check(mvtec).problems)
    for name in together:
        if name not in ("missing xyz", "missing rgb", "sizes differ"):
            assert re.search(FAULTS[name][1], problems), name
    assert "000: expected images of one size" not in problems  # its depth is all invalid


def test_sound_data_has_no_problem_and_is_counted(mvtec):
    report = check(mvtec)
    assert report.problems == []
    assert report.layout == "mvtec3d"
    counts = {row.folder.place: len(row.folder.stems) for row in report.rows}
    assert counts == {
        "box/train/good": 2,
        "box/validation/good": 1,
        "box/test/dent": 2,
        "box/test/good": 1,
    }
    for row in report.rows:
        assert row.sizes == {(SIZE, SIZE)}
        assert row.mean_valid == pytest.approx(0.9, abs=0.02)  # the scene loses one in ten


def test_masks_of_good_images_are_optional(mvtec):
    (mvtec / "box/test/good/gt/000.png").unlink()
    assert check(mvtec).problems == []


def test_hidden_files_are_none_of_the_datasets(mvtec):
    (mvtec / "box/train/good/rgb/._000.png").write_bytes(b"resource fork")
    assert check(mvtec).problems == []


def test_a_category_that_lost_its_training_images_is_found(mvtec):
    shutil.rmtree(write_mvtec3d(mvtec, "cube") / "cube" / "train")
    assert check(mvtec).problems == ["cube/train: expected good images, got none"]


def test_long_lists_of_missing_files_are_cut_short(tmp_path):
    root = write_mvtec3d(tmp_path, counts=(9, 0, 1, 1))
    for index in range(8):
        (root / f"box/train/good/xyz/{index:03d}.tiff").unlink()
    (problem,) = check(root).problems
    assert problem.endswith("got 1 of 9 (none for 000, 001, 002, 003, 004 and 3 more)")


def test_a_prepared_copy_needs_its_part_masks(mvtec, tmp_path):
    prepare(mvtec, tmp_path / "copy")
    parts = tmp_path / "copy/box/train/good/part"
    (parts / "000.png").unlink()
    save_png(parts / "001.png", EMPTY)
    missing, empty = check(tmp_path / "copy").problems
    assert "box/train/good: expected part/*.png for every image, got 1 of 2" in missing
    assert "box/train/good/001: expected a mask with the part marked, got an empty one" in empty


def test_what_is_no_dataset_is_refused(tmp_path, mvtec):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"expected <category>/train/good/.* got nei.*\. Name"):
        check(tmp_path / "empty")
    with pytest.raises(DataError, match=r"expected <category>/train/good/.* got no cat.*\. Name"):
        check(tmp_path / "empty", "mvtec3d")
    with pytest.raises(MissingDataError, match="expected the dataset's folder, got no such folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="--format: expected one of auto"):
        check(mvtec, "kitti")


@pytest.mark.real
@pytest.mark.skipif("FSAD_REAL_DATA" not in os.environ, reason="FSAD_REAL_DATA is not set")
@pytest.mark.parametrize("name", ["mvtec3d", "eyecandies_raw"])
def test_real_data_has_no_problem(name):
    assert check(Path(os.environ["FSAD_REAL_DATA"]) / name).problems == []
