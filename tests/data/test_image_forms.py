"""Photographs and masks in every form whose meaning is plain."""

import re

import numpy as np
import pytest
from PIL import Image

from fsad.data.depth_file import read_size
from fsad.data.images import photograph_size, read_grey16_png, read_mask, read_rgb
from fsad.errors import DataError

GREY = np.random.default_rng(0).integers(1, 256, (6, 8)).astype(np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 8, 3)).astype(np.uint8)
MARKED = np.zeros((6, 8), bool)
MARKED[2:4, 3:7] = True


def save(path, pixels, mode=None):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return path


def with_alpha(pixels, alpha):
    return np.concatenate([pixels, np.broadcast_to(alpha, pixels.shape[:2])[..., None]], axis=2)


def palette(indices, colours):
    image = Image.fromarray(indices.astype(np.uint8), mode=None).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours)
    return image


def test_a_grey_photograph_has_three_equal_channels(tmp_path):
    for mode in ("L", "LA", "RGB"):
        read = read_rgb(save(tmp_path / f"{mode}.png", GREY, mode))
        np.testing.assert_array_equal(read, np.repeat(GREY[..., None], 3, axis=2))


def test_colours_behind_an_opaque_alpha_or_in_a_palette_are_the_colours(tmp_path):
    opaque = save(tmp_path / "a.png", with_alpha(COLOUR, np.uint8(255)))
    np.testing.assert_array_equal(read_rgb(opaque), COLOUR)
    two = palette(MARKED, [10, 20, 30, 200, 100, 50])
    expected = np.where(MARKED[..., None], [200, 100, 50], [10, 20, 30])
    np.testing.assert_array_equal(read_rgb(save(tmp_path / "p.png", two)), expected)


def test_what_is_transparent_is_black(tmp_path):
    cut_out = save(tmp_path / "a.png", with_alpha(COLOUR, np.uint8(255) * MARKED))
    np.testing.assert_array_equal(read_rgb(cut_out), COLOUR * MARKED[..., None])


def test_a_photograph_of_more_than_8_bits_is_refused_with_the_remedy(tmp_path):
    path = save(tmp_path / "a.png", GREY.astype(np.uint16))
    message = rf"{re.escape(str(path))}: expected an 8-bit colour or grey image .*Convert it to 8 "
    with pytest.raises(DataError, match=message):
        read_rgb(path)


MASKS = {
    "one bit": lambda: Image.fromarray(MARKED),
    "grey": lambda: MARKED.astype(np.uint8) * 255,
    "numbered": lambda: MARKED.astype(np.uint8) * 3,
    "16 bits": lambda: MARKED.astype(np.uint16) * 256,
    "rgb": lambda: MARKED[..., None] * np.uint8([255, 0, 0]),
    "rgb white": lambda: np.repeat(MARKED[..., None], 3, axis=2).astype(np.uint8) * 255,
    "rgba opaque": lambda: with_alpha(MARKED[..., None] * np.uint8([0, 0, 9]), np.uint8(255)),
    "rgba white, cut out": lambda: with_alpha(
        np.full((6, 8, 3), 255, np.uint8), np.uint8(255) * MARKED
    ),
    "alpha alone": lambda: with_alpha(np.zeros((6, 8, 3), np.uint8), np.uint8(255) * MARKED),
    "palette": lambda: palette(MARKED, [0, 0, 0, 128, 0, 0]),
    "palette with black second": lambda: palette(~MARKED, [9, 0, 0, 0, 0, 0]),
}


@pytest.mark.parametrize("name", MASKS)
def test_what_is_not_black_is_marked_in_every_mode(tmp_path, name):
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", MASKS[name]())), MARKED)


def test_a_black_mask_marks_nothing_in_any_mode(tmp_path):
    black = np.zeros((6, 8), np.uint8)
    for mode in ("1", "L", "RGB", "RGBA", "P"):
        assert not read_mask(save(tmp_path / "a.png", black, mode)).any()


READ = {
    "photograph": (read_rgb, GREY),
    "its size": (photograph_size, GREY),
    "mask": (read_mask, GREY),
    "depth": (read_grey16_png, GREY.astype(np.uint16)),
    "its size alone": (read_size, GREY.astype(np.uint16)),
}


@pytest.mark.parametrize("kind", READ)
def test_a_huge_image_is_read_and_told_of_in_one_line_a_folder(tmp_path, kind, monkeypatch, caplog):
    read, pixels = READ[kind]
    paths = [save(tmp_path / f"{number}.png", pixels) for number in range(2)]
    known = read(paths[0])
    assert not caplog.records
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # they have 48
    for path in paths:
        np.testing.assert_array_equal(read(path), known)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{paths[0]}: 8 x 6 pixels, more than 40: it is read all the same, but takes time and "
        "memory. Of further ones in its folder nothing is said"
    )


@pytest.mark.parametrize("kind", READ)
def test_an_image_beyond_all_bounds_is_refused_with_the_remedy(tmp_path, kind, monkeypatch):
    read, pixels = READ[kind]
    path = save(tmp_path / "a.png", pixels)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    message = rf"{re.escape(str(path))}: expected at most 40 pixels, got .* Make it smaller, or cut"
    with pytest.raises(DataError, match=message):
        read(path)
