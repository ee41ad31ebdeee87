import os
import re
import shutil

import numpy as np
import pytest
import tifffile
from pair_folders import DEFECT, SHAPE, depth_of, rgb_of, save_png, save_xyz, write_mvtec3d
from PIL import Image

from fsad.data.mvtec3d import MVTec3D
from fsad.errors import ConfigError, DataError, MissingDataError


def one(root, split="test", defect="dent"):
    return next(s for s in MVTec3D(root).samples("bolt", split) if s.defect == defect)


def test_categories_are_sorted_and_need_a_split(mvtec3d):
    write_mvtec3d(mvtec3d, "anchor", train=1, test={"good": 1})
    (mvtec3d / "notes").mkdir()
    (mvtec3d / "notes" / "train").write_text("a file")
    assert MVTec3D(mvtec3d).categories() == ["anchor", "bolt"]


def test_a_category_that_lost_its_training_images_is_listed_and_named_when_it_is_opened(mvtec3d):
    shutil.rmtree(write_mvtec3d(mvtec3d, "knob") / "train")
    assert MVTec3D(mvtec3d).categories() == ["bolt", "knob"]
    message = re.escape("knob/train: expected {good,<defect>}/rgb/*.png, got none")
    with pytest.raises(MissingDataError, match=message):
        MVTec3D(mvtec3d).samples("knob", "train")


@pytest.mark.parametrize("left", ["nothing", "good/rgb", "licence.txt", ".DS_Store"])
def test_a_category_need_not_be_tested(mvtec3d, left):
    test = write_mvtec3d(mvtec3d, "knob") / "test"
    shutil.rmtree(test)
    if left != "nothing":
        test.mkdir()
        (test / left).touch() if "." in left else (test / left).mkdir(parents=True)
    assert MVTec3D(mvtec3d).samples("knob", "test") == []


@pytest.mark.parametrize("place", ["000.png", "good/000.png", "good/rgb/000.jpg"])
def test_test_images_that_lie_elsewhere_are_not_taken_for_none(mvtec3d, place):
    test = write_mvtec3d(mvtec3d, "knob") / "test"
    shutil.rmtree(test)
    (test / place).parent.mkdir(parents=True)
    (test / place).touch()
    message = re.escape(
        "knob/test: expected {good,<defect>}/rgb/*.png, got other files alone. Lay the images out "
        "so, or take the folder away to train without test images."
    )
    with pytest.raises(MissingDataError, match=message):
        MVTec3D(mvtec3d).samples("knob", "test")


def test_a_defective_image_without_a_mask_does_not_say_which_pixels_are_defective(mvtec3d):
    (mvtec3d / "bolt/test/dent/gt/001.png").unlink()
    samples = MVTec3D(mvtec3d).samples("bolt", "test")
    assert [f"{s.defect}/{s.stem}" for s in samples if not s.is_masked] == ["dent/001"]


def test_eyecandies_folders_are_no_categories_and_the_other_reader_is_named(eyecandies):
    with pytest.raises(MissingDataError, match="Eyecandies as distributed needs data=eyecandies"):
        MVTec3D(eyecandies).categories()


def test_samples_are_sorted_by_defect_and_stem(mvtec3d):
    samples = MVTec3D(mvtec3d).samples("bolt", "test")
    assert [(s.defect, s.stem) for s in samples] == [
        ("cut", "000"),
        ("dent", "000"),
        ("dent", "001"),
        ("good", "000"),
        ("good", "001"),
    ]
    assert [s.is_anomalous for s in samples] == [True, True, True, False, False]


def test_files_are_paired_by_stem_even_if_both_folders_have_the_same_count(mvtec3d):
    folder = mvtec3d / "bolt/train/good"
    (folder / "xyz/003.tiff").rename(folder / "xyz/999.tiff")
    with pytest.raises(MissingDataError, match=re.escape("got 5 for 6 (no xyz/003.tiff)")):
        MVTec3D(mvtec3d).samples("bolt", "train")


def test_listing_opens_no_image(mvtec3d, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("opened")

    monkeypatch.setattr(Image, "open", refuse)
    monkeypatch.setattr(tifffile, "imread", refuse)
    monkeypatch.setattr(tifffile, "TiffFile", refuse)
    assert len(MVTec3D(mvtec3d).samples("bolt", "test")) == 5


def test_hidden_doubles_of_files_are_no_samples(mvtec3d):
    (mvtec3d / "bolt/train/good/rgb/._000.png").write_bytes(b"resource fork")
    assert len(MVTec3D(mvtec3d).samples("bolt", "train")) == 6


def test_a_missing_validation_split_is_empty(mvtec3d):
    (mvtec3d / "bolt/validation").rename(mvtec3d / "elsewhere")
    assert MVTec3D(mvtec3d).samples("bolt", "validation") == []


def test_what_was_written_is_read(mvtec3d):
    reader, sample = MVTec3D(mvtec3d), one(mvtec3d, "train", "good")
    np.testing.assert_array_equal(reader.read(sample, "rgb"), rgb_of(1))
    np.testing.assert_array_equal(reader.read(sample, "depth"), depth_of(1))
    assert not reader.read_mask(sample).any()
    assert reader.read_mask(sample).shape == SHAPE
    assert reader.read_part(sample) is None


def test_every_mask_value_above_zero_is_defective(mvtec3d):
    sample = one(mvtec3d)
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[DEFECT] = np.arange(1, 33).reshape(4, 8)
    save_png(sample.masks[0], mask)
    np.testing.assert_array_equal(MVTec3D(mvtec3d).read_mask(sample), mask > 0)


def test_a_good_test_image_may_have_a_mask(mvtec3d):
    for stem in ("000", "001"):
        save_png(mvtec3d / f"bolt/test/good/gt/{stem}.png", np.zeros(SHAPE, dtype=np.uint8))
    sample = one(mvtec3d, "test", "good")
    assert len(sample.masks) == 1
    assert not MVTec3D(mvtec3d).read_mask(sample).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
def test_what_is_no_depth_is_a_hole(mvtec3d, bad):
    sample = one(mvtec3d)
    z = depth_of(3)
    z[5:9] = bad
    save_xyz(sample.files["depth"], z)
    read = MVTec3D(mvtec3d).read(sample, "depth")
    assert np.isnan(read[5:9]).all()
    np.testing.assert_array_equal(read[9:], z[9:])


def test_prepared_data_have_a_part_mask(tmp_path):
    write_mvtec3d(tmp_path, prepared=True)
    reader, sample = MVTec3D(tmp_path), one(tmp_path)
    np.testing.assert_array_equal(
        reader.read_part(sample), np.isfinite(reader.read(sample, "depth"))
    )


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(
        MissingDataError,
        match=r"nowhere: expected the dataset's folder, got no such folder. Set data.root to it",
    ):
        MVTec3D(tmp_path / "nowhere").categories()


def test_a_root_without_categories_is_named(tmp_path):
    with pytest.raises(
        MissingDataError,
        match=rf"{tmp_path}: expected <category>/train/good, got no such folder. Set data.root",
    ):
        MVTec3D(tmp_path).categories()


def test_an_unknown_category_lists_the_known_ones(mvtec3d):
    with pytest.raises(ConfigError, match=r"data.category: expected one of bolt, got 'bagel'"):
        MVTec3D(mvtec3d).samples("bagel", "train")


def test_an_unknown_split_lists_the_known_ones(mvtec3d):
    with pytest.raises(
        ConfigError, match="split: expected one of train, validation, test, got 'val'"
    ):
        MVTec3D(mvtec3d).samples("bolt", "val")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "train/good/xyz/004.tiff",
            "train/good: expected xyz/*.tiff for every rgb/*.png, got 5 for 6 (no xyz/004.tiff)",
        ),
        (
            "train/good/rgb/004.png",
            "train/good: expected rgb/*.png for every xyz/*.tiff, got 5 for 6 (no rgb/004.png)",
        ),
        (
            "prepared/dent/part/001.png",
            "test/dent: expected part/*.png for every rgb/*.png, got 1 for 2 (no part/001.png)",
        ),
    ],
)
def test_a_missing_partner_is_named(tmp_path, file, message):
    write_mvtec3d(tmp_path, prepared=file.startswith("prepared"))
    path = tmp_path / "bolt" / file.replace("prepared", "test")
    path.unlink()
    split = path.relative_to(tmp_path / "bolt").parts[0]
    with pytest.raises(MissingDataError, match=re.escape(f"bolt/{message}")):
        MVTec3D(tmp_path).samples("bolt", split)


def test_a_mask_without_an_image_is_named(mvtec3d):
    save_png(mvtec3d / "bolt/test/dent/gt/007.png", np.zeros(SHAPE, dtype=np.uint8))
    with pytest.raises(
        MissingDataError,
        match=re.escape(
            "test/dent: expected rgb/*.png for every gt/*.png, got 2 for 3 (no rgb/007.png)"
        ),
    ):
        MVTec3D(mvtec3d).samples("bolt", "test")


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("spoil", [truncate, lambda path: path.write_bytes(b"no image")])
@pytest.mark.parametrize(("file", "kind"), [("rgb", "png"), ("depth", "tiff"), ("mask", "png")])
def test_an_unreadable_file_is_named_in_one_line(mvtec3d, spoil, file, kind):
    sample, reader = one(mvtec3d), MVTec3D(mvtec3d)
    path = sample.masks[0] if file == "mask" else sample.files[file]
    spoil(path)
    message = rf"^{re.escape(str(path))}: expected a readable {kind}, got '.+'$"
    with pytest.raises(DataError, match=message) as caught:
        reader.read_mask(sample) if file == "mask" else reader.read(sample, file)
    assert "\n" not in str(caught.value)


def test_a_tiff_cut_off_before_its_directory_is_named_and_nothing_else_is_said(mvtec3d, capfd):
    # A camera writes the directory last: without it tifffile finds no image, and only logs why.
    path = one(mvtec3d).files["depth"]
    header, offset = b"II*\0", (10**6).to_bytes(4, "little")
    path.write_bytes(header + offset + bytes(500))
    message = rf"^{re.escape(str(path))}: expected depth .*, got a tiff without pixels: it"
    with pytest.raises(DataError, match=message):
        MVTec3D(mvtec3d).read(one(mvtec3d), "depth")
    assert capfd.readouterr() == ("", "")


def test_an_unreadable_header_is_named_where_a_good_image_needs_its_size(mvtec3d):
    sample = one(mvtec3d, "test", "good")
    sample.files["depth"].write_bytes(b"no image")
    with pytest.raises(DataError, match=r"xyz/000.tiff: expected a readable tiff, got '.+'$"):
        MVTec3D(mvtec3d).read_mask(sample)


def test_masks_of_different_sizes_are_named(mvtec3d):
    sample = one(mvtec3d)
    other = sample.masks[0].with_name("other.png")
    save_png(other, np.zeros((8, 8), dtype=np.uint8))
    both = type(sample)(**{**vars(sample), "masks": (*sample.masks, other)})
    message = r"other.png: expected the size of gt/000.png, \(40, 56\), got \(8, 8\)"
    with pytest.raises(DataError, match=message):
        MVTec3D(mvtec3d).read_mask(both)


def test_a_depth_map_without_a_valid_pixel_is_named(mvtec3d):
    sample = one(mvtec3d)
    save_xyz(sample.files["depth"], np.zeros(SHAPE, np.float32))
    message = "000.tiff: expected at least one depth that is finite and not 0, got none"
    with pytest.raises(DataError, match=message):
        MVTec3D(mvtec3d).read(sample, "depth")
