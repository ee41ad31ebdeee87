"""Images made smaller: nothing small is lost."""

import numpy as np
import pytest
import torch
from PIL import Image

from fsad.data.depth import depth_pixels
from fsad.data.shrink import any_resize, mean_resize, nearest_resize

SHAPES = [((100, 140), 64), ((37, 53), 23), ((97, 61), 60), ((60, 60), 20)]


@pytest.mark.parametrize(("shape", "size"), [((100, 140), 64), ((37, 53), 41), ((5, 9), 32)])
def test_nearest_resize_picks_the_pixels_that_pillow_picks(shape, size):
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    theirs = Image.fromarray(pixels).resize((size, size), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(nearest_resize(pixels, size), np.asarray(theirs))


@pytest.mark.parametrize(("shape", "size"), [((100, 140), 64), ((37, 53), 41), ((5, 9), 32)])
def test_nearest_resize_picks_the_pixels_that_torch_picks(shape, size):
    pixels = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    theirs = torch.nn.functional.interpolate(pixels[None, None], (size, size), mode="nearest-exact")
    np.testing.assert_array_equal(nearest_resize(pixels.numpy(), size), theirs[0, 0])


def test_nearest_resize_to_the_same_size_is_the_identity():
    pixels = np.random.default_rng(0).random((37, 37))
    np.testing.assert_array_equal(nearest_resize(pixels, 37), pixels)


@pytest.mark.parametrize(("shape", "size"), SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_a_map_without_holes_keeps_its_mean(shape, size, seed):
    z = np.random.default_rng(seed).normal(0.5, 0.1, shape)
    assert mean_resize(z, size).mean(dtype=np.float64) == pytest.approx(z.mean(), abs=1e-7)


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_the_mean_is_the_one_that_torch_takes_where_pixels_divide_evenly_and_there_are_no_holes(
    shape, size
):
    z = np.random.default_rng(0).normal(
        0.5, 0.1, (shape[0] // size * size, shape[1] // size * size)
    )
    theirs = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(z)[None], size)[0]
    np.testing.assert_allclose(mean_resize(z, size), theirs, atol=1e-7)


def test_a_hole_takes_no_part_and_a_pixel_above_holes_alone_is_one():
    z = np.arange(36.0).reshape(6, 6)
    z[:3, :3] = np.nan
    z[0, 5] = np.nan
    small = mean_resize(z, 2)
    assert np.isnan(small[0, 0])
    assert small[0, 1] == pytest.approx(np.nanmean(z[:3, 3:]))
    assert small[1].tolist() == pytest.approx([z[3:, :3].mean(), z[3:, 3:].mean()])


@pytest.mark.parametrize("row", range(0, 40, 7))
@pytest.mark.parametrize("column", range(0, 40, 11))
def test_a_pit_of_one_pixel_changes_the_small_map_by_its_share_wherever_it_lies(row, column):
    z = np.full((43, 43), 0.5)
    flat = mean_resize(z, 9)
    z[row, column] += 0.01
    assert (mean_resize(z, 9) - flat).sum(dtype=np.float64) == pytest.approx(
        0.01 * (9 / 43) ** 2, rel=1e-3
    )


@pytest.mark.parametrize("shift", [0.0, -0.6, 1e4])
def test_a_pit_that_nearest_steps_over_stays_in_the_depth_image(shift):
    # 3 pixels in 1200 at 112, as a scratch in a large image: ten times as deep as the noise.
    rng = np.random.default_rng(0)
    z = (0.5 + rng.normal(0, 2e-4, (1200, 1200)) + shift).astype(np.float64)
    z[:100] += 0.02  # what sets the range
    pit = z.copy()
    pit[597:600, 597:600] += 0.01
    kept = depth_pixels(pit, 112, shrink="area") - depth_pixels(z, 112, shrink="area")
    noise = depth_pixels(z, 112, shrink="area")[20:].std()
    assert np.abs(kept[54:57, 54:57]).max() > 5 * noise
    lost = depth_pixels(pit, 112) - depth_pixels(z, 112)
    assert np.abs(lost).max() == 0


@pytest.mark.parametrize(("a", "b"), [(1000.0, 0.0), (0.01, 0.3), (1.0, -0.6)])
def test_scaling_and_shifting_scales_and_shifts_the_mean(a, b):
    z = np.random.default_rng(0).normal(0.5, 0.1, (53, 37))
    z[10:20, 5:9] = np.nan
    np.testing.assert_allclose(mean_resize(a * z + b, 20), a * mean_resize(z, 20) + b, rtol=1e-5)


@pytest.mark.parametrize(("shape", "size"), [*SHAPES, ((5, 9), 32), ((5, 64), 32)])
@pytest.mark.parametrize("seed", range(3))
def test_a_mask_with_a_pixel_set_has_one_set_at_every_size(shape, size, seed):
    mask = np.zeros(shape, bool)
    row, column = (np.random.default_rng(seed).integers(length) for length in shape)
    mask[row, column] = True
    small = any_resize(mask, size)
    assert small.any()
    if min(shape) >= size:  # and only that one
        assert small.sum() == 1
        assert small[
            (2 * row + 1) * size // (2 * shape[0]), (2 * column + 1) * size // (2 * shape[1])
        ]


def test_a_mask_of_whole_pixels_becomes_these_pixels():
    small = np.random.default_rng(0).random((8, 8)) < 0.3
    np.testing.assert_array_equal(any_resize(small.repeat(5, 0).repeat(3, 1), 8), small)


def test_what_grows_is_picked_by_every_rule():
    z = np.random.default_rng(0).random((5, 9)).astype(np.float32)
    np.testing.assert_array_equal(mean_resize(z, 32), nearest_resize(z, 32))
    np.testing.assert_array_equal(any_resize(z > 0.5, 32), nearest_resize(z > 0.5, 32))


def test_a_map_of_holes_stays_one():
    assert np.isnan(mean_resize(np.full((8, 8), np.nan), 4)).all()
