import re
import shutil

import numpy as np
import pytest
from pair_folders import (
    DEFECT,
    SHAPE,
    depth_of,
    rgb_of,
    save_png,
    write_eyecandies,
    write_frame,
    write_yaml,
)
from PIL import Image

from fsad.data.eyecandies import Eyecandies
from fsad.errors import ConfigError, DataError, MissingDataError


def frames(root, split="test"):
    return {s.stem: s for s in Eyecandies(root).samples("Candy", split)}


def test_defects_come_from_the_flags_and_samples_are_sorted_by_them(eyecandies):
    samples = Eyecandies(eyecandies).samples("Candy", "test")
    assert [(s.defect, s.stem) for s in samples] == [
        ("combined", "02"),
        ("dents", "01"),
        ("good", "00"),
        ("normals", "03"),
    ]


def test_an_anomaly_without_a_flag_is_still_one(eyecandies):
    write_yaml(eyecandies / "Candy/test_public/data/01_metadata.yaml", {"anomalous": 1})
    assert frames(eyecandies)["01"].defect == "anomalous"


def test_the_splits_have_the_names_of_the_distribution(eyecandies):
    assert [len(frames(eyecandies, split)) for split in ("train", "validation", "test")] == [
        3,
        1,
        4,
    ]


def test_a_missing_validation_split_is_empty(eyecandies):
    (eyecandies / "Candy/val").rename(eyecandies / "elsewhere")
    assert frames(eyecandies, "validation") == {}


def test_listing_opens_no_image(eyecandies, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("opened")

    monkeypatch.setattr(Image, "open", refuse)
    assert len(frames(eyecandies)) == 4


def test_depth_is_spread_over_the_range_within_half_a_level(eyecandies):
    sample = frames(eyecandies)["01"]
    z = depth_of(1, defective=True)
    level = (z.max() - z.min()) / 65535
    read = Eyecandies(eyecandies).read(sample, "depth")
    np.testing.assert_allclose(read, z, atol=0.51 * level + 1e-7, rtol=0)
    assert (read > 0).all()  # the lowest value is the nearest pixel, not a hole


def test_what_was_written_is_read(eyecandies):
    reader, sample = Eyecandies(eyecandies), frames(eyecandies)["01"]
    expected = np.zeros(SHAPE, dtype=bool)
    expected[DEFECT] = True
    np.testing.assert_array_equal(reader.read(sample, "rgb"), rgb_of(1))
    np.testing.assert_array_equal(reader.read_mask(sample), expected)
    assert reader.read_part(sample) is None


def test_a_good_frame_without_a_mask_has_no_defective_pixel(eyecandies):
    (eyecandies / "Candy/test_public/data/00_mask.png").unlink()
    sample = frames(eyecandies)["00"]
    assert sample.masks == ()
    mask = Eyecandies(eyecandies).read_mask(sample)
    assert mask.shape == SHAPE
    assert not mask.any()


def test_another_light_reads_another_image(eyecandies):
    folder = eyecandies / "Candy/train/data"
    for index in range(3):
        save_png(folder / f"00{index}_image_5.png", rgb_of(100 + index))
    reader = Eyecandies(eyecandies, light=5)
    sample = reader.samples("Candy", "train")[1]
    np.testing.assert_array_equal(reader.read(sample, "rgb"), rgb_of(101))


def test_a_missing_light_names_those_there_are(eyecandies):
    save_png(eyecandies / "Candy/train/data/000_image_1.png", rgb_of(0))
    message = r"train/data: expected \*_image_2.png, got light 1, 4. Set data.reader.light "
    with pytest.raises(MissingDataError, match=message):
        Eyecandies(eyecandies, light=2).samples("Candy", "train")


def test_a_category_need_not_be_tested(eyecandies):
    (eyecandies / "Candy/test_public").rename(eyecandies / "elsewhere")
    assert frames(eyecandies) == {}
    (eyecandies / "Candy/test_public/data").mkdir(parents=True)
    assert frames(eyecandies) == {}


def test_test_frames_without_their_image_are_not_taken_for_none(eyecandies):
    for path in (eyecandies / "Candy/test_public/data").glob("*_image_4.png"):
        path.unlink()
    message = r"Candy/test_public/data: expected \*_image_4.png, got none"
    with pytest.raises(MissingDataError, match=message):
        frames(eyecandies)


def test_a_negative_light_is_refused(eyecandies):
    with pytest.raises(ConfigError, match=r"^data\.reader\.light: expected .* 0, got -1"):
        Eyecandies(eyecandies, light=-1)


@pytest.mark.parametrize(
    ("gone", "partner", "owner"),
    [
        ("depth.png", "depth.png", "image_4.png"),
        ("info_depth.yaml", "info_depth.yaml", "image_4.png"),
        ("metadata.yaml", "metadata.yaml", "image_4.png"),
        ("image_4.png", "image_4.png", "depth.png"),
    ],
)
def test_a_partly_present_frame_is_named(eyecandies, gone, partner, owner):
    (eyecandies / f"Candy/test_public/data/02_{gone}").unlink()
    message = (
        f"test_public/data: expected *_{partner} for every *_{owner}, got 3 for 4 (no 02_{gone})"
    )
    with pytest.raises(MissingDataError, match=re.escape(message)):
        frames(eyecandies)


def test_a_defect_without_a_mask_does_not_say_which_pixels_are_defective(eyecandies):
    (eyecandies / "Candy/test_public/data/02_mask.png").unlink()
    assert [stem for stem, frame in frames(eyecandies).items() if not frame.is_masked] == ["02"]


def test_a_root_without_categories_is_named(tmp_path):
    with pytest.raises(
        MissingDataError,
        match=rf"{tmp_path}: expected <category>/train/data, got no such folder. Set data.root",
    ):
        Eyecandies(tmp_path).categories()


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere: expected the dataset's folder, got no"):
        Eyecandies(tmp_path / "nowhere").categories()


def test_an_unknown_category_lists_the_known_ones(eyecandies):
    with pytest.raises(ConfigError, match=r"data.category: expected one of Candy, got 'Lolly'"):
        Eyecandies(eyecandies).samples("Lolly", "train")


def test_a_prepared_copy_is_sent_to_the_other_reader(eyecandies):
    (eyecandies / "fsad_prepared.json").write_text("{}")
    message = (
        r"expected Eyecandies as distributed, got a prepared copy \(fsad_prepared.json\). "
        "Prepared copies have the MVTec 3D-AD layout: use data=mvtec3d"
    )
    with pytest.raises(DataError, match=message):
        Eyecandies(eyecandies).categories()


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"normalization": None},
        {"normalization": {"min": 1.0}},
        {"normalization": {"min": 2.0, "max": 1.0}},
        {"normalization": {"min": 1.0, "max": float("nan")}},
        {"normalization": {"min": "near", "max": 1.0}},
    ],
)
def test_a_range_that_is_none_is_named(eyecandies, content):
    sample = frames(eyecandies)["01"]
    write_yaml(sample.files["depth"].with_name("01_info_depth.yaml"), content)
    message = "01_info_depth.yaml: expected normalization with min <= max, got "
    with pytest.raises(DataError, match=message):
        Eyecandies(eyecandies).read(sample, "depth")


def test_labels_without_a_verdict_are_named(eyecandies):
    write_yaml(eyecandies / "Candy/test_public/data/01_metadata.yaml", {"colour": 3})
    message = "01_metadata.yaml: expected the label 'anomalous', got colour"
    with pytest.raises(DataError, match=message):
        frames(eyecandies)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"expected readable yaml, got '.+'$"),
        ("- 1", r"expected yaml with named values, got \[1\]"),
    ],
)
def test_broken_yaml_is_named_in_one_line(eyecandies, text, message):
    (eyecandies / "Candy/test_public/data/01_metadata.yaml").write_text(text)
    with pytest.raises(DataError, match=f"01_metadata.yaml: {message}") as caught:
        frames(eyecandies)
    assert "\n" not in str(caught.value)


def test_a_depth_png_of_8_bits_is_named(eyecandies):
    sample = frames(eyecandies)["01"]
    save_png(sample.files["depth"], np.zeros(SHAPE, dtype=np.uint8))
    message = r"01_depth.png: expected a 16-bit grey image \(H, W\), got \(40, 56\) in mode 'L'"
    with pytest.raises(DataError, match=message):
        Eyecandies(eyecandies).read(sample, "depth")


def test_a_category_that_lost_its_training_frames_is_listed_and_named_when_it_is_opened(eyecandies):
    shutil.rmtree(write_eyecandies(eyecandies, "Lolly") / "train")
    reader = Eyecandies(eyecandies)
    assert reader.categories() == ["Candy", "Lolly"]
    message = r"Lolly/train/data: expected \*_image_4.png, got none"
    with pytest.raises(MissingDataError, match=message):
        reader.samples("Lolly", "train")


def test_mvtec3d_folders_are_no_categories(mvtec3d):
    with pytest.raises(MissingDataError, match="expected <category>/train/data, got no such"):
        Eyecandies(mvtec3d).categories()


def test_stems_may_have_two_or_three_digits(eyecandies):
    write_frame(eyecandies / "Candy/train/data", "07")
    assert sorted(frames(eyecandies, "train")) == ["000", "001", "002", "07"]
