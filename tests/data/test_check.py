"""`check`: every planted fault is found, and nothing else."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from box_scene import SIZE, save_png, write_mvtec3d
from PIL import Image

from fsad.data.depth_rules import DepthRules
from fsad.data.inspect.check import check
from fsad.data.prepare.copies import prepare
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


def spoil(root, change):
    for path in (root / "box/train/good/xyz").iterdir():
        save_xyz(path, change(tifffile.imread(path)))


def invert(path):
    save_png(path, 255 - np.asarray(Image.open(path)))


FAULTS = {
    "missing xyz": (
        lambda root: (root / "box/train/good/xyz/001.tiff").unlink(),
        r"box/train/good: expected xyz/\*\.tiff for every image, got 1 of 2 \(none for 001\)",
    ),
    "missing rgb": (
        lambda root: (root / "box/train/good/rgb/001.png").unlink(),
        r"box/train/good: expected rgb/\*\.png for every image, got 1 of 2 \(none for 001\)",
    ),
    "truncated xyz": (
        lambda root: truncate(root / "box/train/good/xyz/000.tiff"),
        r"train/good/xyz/000\.tiff: expected a readable tiff, got '.*'",
    ),
    "truncated rgb": (
        lambda root: truncate(root / "box/test/good/rgb/000.png"),
        r"test/good/rgb/000\.png: expected a readable png, got '.*'",
    ),
    "rgb of 16 bits": (
        lambda root: save_png(root / "box/train/good/rgb/000.png", EMPTY.astype(np.uint16)),
        r"rgb/000\.png: expected an 8-bit colour or grey image .*in mode 'I;16'.*Convert it to 8",
    ),
    "sizes differ": (
        lambda root: save_png(root / "box/train/good/rgb/000.png", np.zeros((48, 96, 3), "u1")),
        r"box/train/good/000: expected images of one size, got rgb \(48, 96\), depth \(96, 96\)",
    ),
    "all invalid": (
        lambda root: save_xyz(root / "box/train/good/xyz/000.tiff", np.zeros((SIZE, SIZE, 3))),
        r"xyz/000\.tiff: expected at least one depth that is finite and not 0, got none",
    ),
    "empty mask of a defect": (
        lambda root: save_png(root / "box/test/dent/gt/001.png", EMPTY),
        r"box/test/dent/001: expected a mask with the defect marked, got an empty one: pixel metr",
    ),
    "marked mask of a good image": (
        lambda root: save_png(root / "box/test/good/gt/000.png", EMPTY + 255),
        r"box/test/good/000: expected an empty mask for a good image, got marked pixels",
    ),
    "no training images": (empty_train, r"box/train: expected good images, got none"),
    "a defect in training": (
        lambda root: (root / "box/test/dent").rename(root / "box/train/dent"),
        r"box/train/dent: expected training images without defects, got 'dent'\. Move them",
    ),
    "an inverted mask": (
        lambda root: invert(root / "box/test/dent/gt/000.png"),
        r"dent/000: expected a mask that marks the defect, got 100% of the image marked\. Is it",
    ),
    "a doubled file": (
        lambda root: shutil.copy(
            root / "box/train/good/rgb/000.png", root / "box/train/good/rgb/000.PNG"
        ),
        r"box/train/good: expected one file of each .*, got rgb/000\.PNG and rgb/000\.png",
    ),
    "a value for no reading": (
        lambda root: spoil(root, lambda xyz: np.where(xyz == 0, 65535, xyz)),
        r"xyz/000\.tiff: expected depths that fill .* say data\.invalid=\[65535\]; the same with 1 "
        r"more of box/train/good \(001\)",
    ),
    "points as opencv writes them": (
        lambda root: spoil(root, lambda xyz: xyz[..., ::-1]),
        r"xyz/000\.tiff: expected points x, y, z.* got the third number growing there: z, y, x",
    ),
    "other share of valid depth": (
        halve_valid_depth,
        r"box/test/dent: expected about the share of valid depth of the training images, 90%, got",
    ),
}


CAUSED = {"a doubled file": 2}  # without its RGB images the folder's depth has no partner


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(mvtec, fault):
    plant, message = FAULTS[fault]
    plant(mvtec)
    problems = check(mvtec).problems
    found = [problem for problem in problems if re.search(message, problem)]
    assert len(found) == 1
    assert len(problems) == CAUSED.get(fault, 1)


def test_all_faults_are_found_in_one_go(mvtec):
    together = [name for name in FAULTS if not name.startswith(("no ", "other", "a ", "points"))]
    together.remove("rgb of 16 bits")  # the same file as "sizes differ"
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


NOTES = {
    "missing gt of a defect": (
        lambda root: (root / "box/test/dent/gt/000.png").unlink(),
        "box/test/dent: expected gt/*.png for every image, got 1 of 2 (none for 000): pixel "
        "metrics will be –",
    ),
    "no gt at all": (
        lambda root: shutil.rmtree(root / "box/test/dent/gt"),
        "box/test/dent: expected gt/*.png for every image, got 0 of 2 (none for 000, 001): pixel "
        "metrics will be –",
    ),
    "no good test images": (
        lambda root: shutil.rmtree(root / "box/test/good"),
        "box/test: expected good images, got none: the metrics that compare good with defective "
        "images will be –",
    ),
    "no defects": (
        lambda root: shutil.rmtree(root / "box/test/dent"),
        "box/test: expected images with defects, got none: the metrics that compare good with "
        "defective images will be –",
    ),
    "points in millimetres": (
        lambda root: [
            save_xyz(path, 1000 * tifffile.imread(path)) for path in root.rglob("xyz/*.tiff")
        ],
        "xyz/000.tiff: expected points in metres, got some 5",
    ),
    "training images of another scale": (
        lambda root: spoil(root, lambda xyz: xyz * 3),
        "box/validation/good: 1 of 1 images have another width : height than the first training",
    ),
    "files of no kind": (
        lambda root: [
            (root / f"box/train/good/rgb/{name}").touch() for name in ("a.bmp", "._b.png")
        ],
        "box/train/good: 2 files ignored: not a kind of file that is read (rgb/._b.png, rgb/a.bmp)",
    ),
    "images within a folder of images": (
        lambda root: shutil.copytree(root / "box/test/dent/xyz", root / "box/test/dent/xyz/old"),
        "box: 2 images in nested or hidden folders not read: test/dent/xyz/old (2). Move them up",
    ),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_a_run_takes_is_noted_and_is_no_problem(mvtec, name):
    plant, note = NOTES[name]
    plant(mvtec)
    report = check(mvtec)
    assert report.problems == []
    assert note in report.notes[0]


def test_defects_smaller_than_a_pixel_of_the_run_are_noted(mvtec):
    mask = EMPTY.copy()
    mask[40, 40] = 255
    save_png(mvtec / "box/test/dent/gt/001.png", mask)
    assert check(mvtec).notes == []
    (note,) = check(mvtec, image_size=48).notes
    assert note.startswith(
        "box/test/dent: 1 of 2 defects are smaller than a pixel at data.image_size=48 (001): they"
    )


def test_rules_that_mend_a_dataset_leave_no_problem(mvtec):
    for path in mvtec.rglob("xyz/*.tiff"):
        xyz = tifffile.imread(path)
        save_xyz(path, np.where(xyz == 0, 65535, 1000 * xyz))
    assert check(mvtec).problems
    found = check(mvtec, rules=DepthRules(invalid=(65535,), unit="mm"))
    assert found.problems == []


def test_half_of_the_files_in_upper_case_are_half_of_the_data(mvtec):
    for path in sorted(mvtec.rglob("*.*"))[::2]:
        path.rename(path.with_suffix(path.suffix.upper()))
    report = check(mvtec)
    assert (report.problems, report.notes) == ([], [])
    assert sum(len(row.folder.stems) for row in report.rows) == 6


def test_an_image_size_below_one_is_refused(mvtec):
    with pytest.raises(ConfigError, match="--image-size: expected a whole number of at least 1"):
        check(mvtec, image_size=0)


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


def test_test_images_that_a_run_would_not_find_are_a_problem(mvtec):
    shutil.rmtree(mvtec / "box/test")
    assert check(mvtec).problems == []
    (mvtec / "box/test").mkdir()
    shutil.copy(mvtec / "box/train/good/rgb/000.png", mvtec / "box/test")
    (problem,) = check(mvtec).problems
    assert "box/test: expected {good,<defect>}/rgb/*.png, got other files alone. Lay" in problem
