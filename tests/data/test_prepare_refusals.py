"""What `prepare` refuses, before it has written anything."""

import json
import os
import shutil

import pytest
from box_scene import content, write_mvtec3d

from fsad.data.prepare.copies import prepare
from fsad.data.record import PREPARED, prepared_as
from fsad.errors import ConfigError, DataError, MissingDataError, RunError


@pytest.fixture
def source(tmp_path):
    return write_mvtec3d(tmp_path / "download")


@pytest.fixture
def output(tmp_path):
    return tmp_path / "copy"


@pytest.mark.parametrize("place", ["", "copy", ".."])
def test_overlapping_folders_are_refused(source, place):
    with pytest.raises(ConfigError, match="output: expected a folder apart from the source"):
        prepare(source, source / place)
    assert not (source / "copy").exists()


def test_a_link_into_the_source_is_refused(source, tmp_path):
    link = tmp_path / "link"
    os.symlink(source, link)
    with pytest.raises(ConfigError, match="output: expected a folder apart from the source"):
        prepare(source, link / "copy")


def test_a_prepared_copy_is_no_source(source, output, tmp_path):
    prepare(source, output)
    with pytest.raises(DataError, match="expected a dataset as downloaded, got a prepared copy"):
        prepare(output, tmp_path / "again")


def test_a_folder_with_other_files_is_refused(source, output):
    output.mkdir()
    (output / "thesis.txt").write_text("all of it")
    with pytest.raises(RunError, match=r"output: expected a new folder .* with other files"):
        prepare(source, output)
    assert [path.name for path in output.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("change", "name"),
    [({"threshold": 0.01}, "parameters"), ({"seed": 1}, "seed")],
    ids=["threshold", "seed"],
)
def test_other_settings_do_not_continue_a_copy(source, output, change, name):
    prepare(source, output)
    before = content(output)
    with pytest.raises(RunError, match=rf"output: expected a copy prepared with {name} .*, got"):
        prepare(source, output, **change)
    assert content(output) == before


def test_a_record_that_cannot_be_read_is_refused(source, output):
    prepare(source, output)
    (output / "fsad_prepared.json").write_text("[]")
    with pytest.raises(RunError, match="expected the record of a preparation, got something else"):
        prepare(source, output)


def test_settings_out_of_range_are_refused(source, output):
    with pytest.raises(ConfigError, match="--rgb-background: expected keep or zero, got 'blue'"):
        prepare(source, output, rgb_background="blue")
    with pytest.raises(ConfigError, match="--threshold: expected a number above 0, got -1"):
        prepare(source, output, threshold=-1)
    with pytest.raises(ConfigError, match="--seed: expected a whole number of at least 0, got -1"):
        prepare(source, output, seed=-1)
    with pytest.raises(ConfigError, match=r"^--category: expected one of box, got 'bagel'"):
        prepare(source, output, categories=["bagel"])
    assert not output.exists()


def lose_a_partner(box):
    (box / "train/good/xyz/000.tiff").unlink()
    return r"box/train/good: expected xyz/\*\.tiff for every rgb/\*\.png, got 1 for 2"


def lose_the_training_split(box):
    shutil.rmtree(box / "train")
    return r"box/train: expected \{good,<defect>\}/rgb/\*\.png, got none"


@pytest.mark.parametrize("spoil", [lose_a_partner, lose_the_training_split])
def test_a_category_that_cannot_be_listed_is_named_and_loses_no_other(source, output, spoil):
    write_mvtec3d(source, "cube")
    message = spoil(source / "box")
    report = prepare(source, output)
    assert report.written == 6
    assert list(report.failed) == ["box"]
    with pytest.raises(MissingDataError, match=message):
        raise MissingDataError(report.failed["box"])
    assert not (output / "box").exists()
    record = json.loads((output / "fsad_prepared.json").read_text())
    assert record["categories"]["box"] == {"samples": {}, "failed": ["box"]}


def test_a_category_is_made_once_it_is_mended(source, output, tmp_path):
    write_mvtec3d(source, "cube")
    prepare(source, tmp_path / "unbroken")
    file = source / "box/train/good/xyz/000.tiff"
    file.rename(tmp_path / "kept.tiff")
    prepare(source, output)
    (tmp_path / "kept.tiff").rename(file)
    assert prepare(source, output).failed == {}
    assert content(output) == content(tmp_path / "unbroken")


@pytest.mark.parametrize("threshold", ["NaN", "Infinity", "-1", '"a"', "null", "true"])
def test_a_record_whose_threshold_cannot_be_is_refused(tmp_path, threshold):
    (tmp_path / PREPARED).write_text(
        f'{{"categories": {{}}, "parameters": {{"threshold": {threshold}}}}}'
    )
    with pytest.raises(RunError, match=r"expected the threshold of a preparation, got none"):
        prepared_as(tmp_path)
