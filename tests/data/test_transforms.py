import re

import numpy as np
import pytest
import torch
from pair_folders import save_png, save_xyz, write_mvtec3d
from PIL import Image

from fsad.data.depth import nearest_resize
from fsad.data.images import rgb_pixels
from fsad.data.mvtec3d import MVTec3D
from fsad.data.part import part_mask
from fsad.data.transforms import load_tensors
from fsad.errors import DataError

SHAPE = (100, 140)
SQUARE = (slice(30, 61), slice(50, 91))


@pytest.fixture
def square(mvtec3d):
    """A sample whose rgb, depth and mask all show one square, at an odd size."""
    sample = MVTec3D(mvtec3d).samples("bolt", "test")[0]
    rgb, mask = np.full((*SHAPE, 3), 20, np.uint8), np.zeros(SHAPE, np.uint8)
    z = np.full(SHAPE, 0.7, np.float32)
    rgb[SQUARE], mask[SQUARE], z[SQUARE] = 220, 255, 0.6
    save_png(sample.files["rgb"], rgb)
    save_png(sample.masks[0], mask)
    save_xyz(sample.files["depth"], z)
    return MVTec3D(mvtec3d), sample


@pytest.mark.parametrize("size", [64, 33, 224])
def test_all_modalities_stay_aligned(square, size):
    seen = load_tensors(*square, size, ("rgb", "depth", "mask", "part"))
    near, bright = seen["depth"][0] < 0.5, seen["rgb"].mean(dim=0) > 120 / 255
    assert torch.equal(near, seen["mask"])
    assert torch.equal(seen["part"], seen["mask"])
    # Antialiasing may tip a pixel whose centre lies right at an edge; a shift of one pixel would
    # tip a whole side.
    wrong = bright ^ seen["mask"]
    assert wrong.sum(dim=0).max() <= 2
    assert wrong.sum() / seen["mask"].sum() < 0.1
    rows, columns = (torch.nonzero(m).double().mean(dim=0) for m in (bright, seen["mask"]))
    torch.testing.assert_close(rows, columns, rtol=0, atol=0.5)


def test_shapes_types_and_ranges_are_as_promised(square):
    seen = load_tensors(*square, 64, ("rgb", "depth", "mask", "part"))
    assert {name: (t.shape, t.dtype) for name, t in seen.items()} == {
        "rgb": ((3, 64, 64), torch.float32),
        "depth": ((3, 64, 64), torch.float32),
        "mask": ((64, 64), torch.bool),
        "part": ((64, 64), torch.bool),
    }
    for name in ("rgb", "depth"):
        assert seen[name].min() >= 0
        assert seen[name].max() <= 1


def test_rgb_is_resized_as_pillow_does_and_scaled_to_one():
    rgb = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    theirs = np.asarray(Image.fromarray(rgb).resize((64, 64), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(rgb_pixels(rgb, 64).transpose(1, 2, 0), theirs / 255, atol=1e-7)


def test_a_depth_map_that_loses_every_valid_pixel_is_named_with_the_remedy(square):
    reader, sample = square
    z = np.zeros(SHAPE, np.float32)
    z[0, 0] = 0.7
    save_xyz(sample.files["depth"], z)
    name = re.escape(str(sample.files["depth"]))
    message = (
        rf"^{name}: expected a valid pixel at 32 × 32, got none\. "
        r"Choose another data\.image_size, or check the file\.$"
    )
    with pytest.raises(DataError, match=message):
        load_tensors(reader, sample, 32, ["depth"])


def test_only_what_is_asked_for_is_returned(square):
    assert set(load_tensors(*square, 32, ["mask"])) == {"mask"}
    assert set(load_tensors(*square, 32, ["part"])) == {"part"}


def test_the_part_is_found_at_native_size(square):
    reader, sample = square
    part = load_tensors(reader, sample, 48, ["part"])["part"]
    native = part_mask(reader.read(sample, "depth"))
    np.testing.assert_array_equal(part, nearest_resize(native, 48))


@pytest.fixture
def prepared(tmp_path):
    """A prepared sample with a hole in its part."""
    write_mvtec3d(tmp_path, prepared=True)
    reader = MVTec3D(tmp_path)
    sample = reader.samples("bolt", "test")[0]
    z = reader.read(sample, "depth")
    z[18:22, 24:28] = 0
    save_xyz(sample.files["depth"], z)
    return reader, sample


def test_a_prepared_part_mask_is_taken_as_it_is(prepared):
    reader, sample = prepared
    part = load_tensors(reader, sample, 32, ["part"])["part"]
    np.testing.assert_array_equal(part, nearest_resize(reader.read_part(sample), 32))


def test_prepared_depth_is_filled_inside_the_part_and_zero_outside(prepared):
    seen = load_tensors(*prepared, 32, ["depth", "part"])
    assert torch.equal(seen["depth"][0] > 0, seen["part"])


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("rgb", r"rgb/000.png: expected the size of xyz/000.tiff, \(40, 56\), got \(8, 9\)"),
        ("gt", r"gt/000.png: expected the size of xyz/000.tiff, \(40, 56\), got \(8, 9\)"),
        ("part", r"part/000.png: expected the size of xyz/000.tiff, \(40, 56\), got \(8, 9\)"),
    ],
)
def test_files_of_different_sizes_are_named(prepared, file, message):
    reader, sample = prepared
    path = sample.files["depth"].parents[1] / file / "000.png"
    save_png(path, np.zeros((8, 9, 3) if file == "rgb" else (8, 9), dtype=np.uint8))
    with pytest.raises(DataError, match=message):
        load_tensors(reader, sample, 32, ("rgb", "depth", "mask", "part"))
