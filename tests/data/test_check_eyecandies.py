"""`check` on Eyecandies as distributed."""

import re

import numpy as np
import pytest
from box_scene import SIZE, save_png, write_eyecandies

from fsad.data.inspect.check import check


@pytest.fixture
def candies(tmp_path):
    return write_eyecandies(tmp_path / "candies")


def test_eyecandies_are_counted_by_defect(candies):
    report = check(candies)
    assert (report.layout, report.problems) == ("eyecandies", [])
    counts = {row.folder.place: len(row.folder.stems) for row in report.rows}
    assert counts == {
        "BoxCandy/train/good": 2,
        "BoxCandy/validation/good": 1,
        "BoxCandy/test/bumps": 1,
        "BoxCandy/test/good": 1,
    }


CANDY_FAULTS = {
    "train/data/000_depth.png": r"expected \*_depth\.png for every image, got 1 of 2",
    "train/data/001_info_depth.yaml": r"expected \*_info_depth\.yaml for every image, got 1 of 2",
    "test_public/data/00_metadata.yaml": r"test/unknown: expected \*_metadata\.yaml for every",
}


@pytest.mark.parametrize("name", CANDY_FAULTS)
def test_a_file_missing_from_eyecandies_is_found(candies, name):
    (candies / "BoxCandy" / name).unlink()
    problems = check(candies).problems
    assert len([problem for problem in problems if re.search(CANDY_FAULTS[name], problem)]) == 1


def test_a_light_that_was_not_downloaded_is_found(candies):
    problems = check(candies, light=0).problems
    assert (
        "BoxCandy/train/good: expected *_image_0.png for every image, got 0 of 2 (none for 000, "
        in (problems[0])
    )


def test_labels_and_ranges_that_cannot_be_read_are_found(candies):
    (candies / "BoxCandy/test_public/data/00_metadata.yaml").write_text("[1, 2]")
    (candies / "BoxCandy/train/data/000_info_depth.yaml").write_text("normalization: 3\n")
    problems = "\n".join(check(candies).problems)
    assert "00_metadata.yaml: expected yaml with named values, got [1, 2]" in problems
    assert "000_info_depth.yaml: expected normalization with min <= max, got 3" in problems


def test_a_depth_of_eight_bits_is_found(candies):
    save_png(candies / "BoxCandy/train/data/000_depth.png", np.zeros((SIZE, SIZE), np.uint8))
    (problem,) = check(candies).problems
    assert "000_depth.png: expected a 16-bit grey image (H, W), got (96, 96) in mode 'L'" in problem
