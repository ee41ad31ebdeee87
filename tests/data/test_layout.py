"""Telling the datasets' layouts apart."""

import pytest
from box_scene import write_eyecandies, write_mvtec3d

from fsad.data.layout import find_format
from fsad.errors import ConfigError, DataError, MissingDataError


@pytest.fixture
def source(tmp_path):
    return write_mvtec3d(tmp_path / "download")


@pytest.fixture
def candies(tmp_path):
    return write_eyecandies(tmp_path / "candies")


def test_the_layout_is_found_by_looking(source, candies):
    assert find_format(source) == "mvtec3d"
    assert find_format(candies) == "eyecandies"
    assert find_format(candies, "mvtec3d") == "mvtec3d"


def test_a_folder_without_a_known_layout_is_refused(source, candies, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"expected <category>/train/good/.* or .*, got neither"):
        find_format(tmp_path / "empty")
    for category in (source / "box", candies / "BoxCandy"):
        with pytest.raises(DataError, match=r"got a category\. Give its parent folder, '.*'"):
            find_format(category)
    with pytest.raises(MissingDataError, match="expected the dataset's folder, got no such folder"):
        find_format(tmp_path / "nowhere")
    with pytest.raises(
        ConfigError, match=r"^--format: expected one of auto, .*, mvtec3d, got 'kitti'"
    ):
        find_format(source, "kitti")
