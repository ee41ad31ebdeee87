import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from fsad.data.depth import depth_image
from fsad.data.shrink import nearest_resize
from fsad.errors import DataError


@pytest.fixture(params=range(5), ids=lambda seed: f"seed{seed}")
def z(request):
    """Random depth (37, 53), a third of it holes."""
    rng = np.random.default_rng(request.param)
    depth = rng.uniform(0.4, 0.9, (37, 53)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.3] = np.nan
    return depth


@pytest.mark.parametrize(("a", "b"), [(1000.0, 0.0), (0.01, 0.3), (1.0, 5.0), (1.0, -0.6)])
def test_scaling_and_shifting_the_depth_changes_nothing(z, a, b):
    moved = a * z.astype(np.float64) + b
    torch.testing.assert_close(depth_image(moved, 32), depth_image(z, 32), rtol=0, atol=1e-6)


def test_valid_pixels_span_the_range_in_the_order_of_their_depth(z):
    image, small = depth_image(z, 32)[0].numpy(), nearest_resize(z, 32)
    valid = np.isfinite(small)
    assert image[valid].min() == pytest.approx(0.1)
    assert image[valid].max() == pytest.approx(0.9)
    np.testing.assert_array_equal(image[valid].argsort(), small[valid].argsort())


def test_filling_leaves_valid_pixels_as_they_are(z):
    nowhere = np.zeros(z.shape, dtype=bool)
    filled, bare = depth_image(z, 32), depth_image(z, 32, region=nowhere)
    valid = torch.from_numpy(np.isfinite(nearest_resize(z, 32)))
    assert torch.equal(filled[:, valid], bare[:, valid])
    assert (bare[:, ~valid] == 0).all()


def test_every_hole_takes_the_value_of_a_nearest_valid_pixel(z):
    image, valid = depth_image(z, 32)[0].numpy(), np.isfinite(nearest_resize(z, 32))
    places, holes = np.argwhere(valid), np.argwhere(~valid)
    distance, _ = cKDTree(places).query(holes)
    for hole, radius in zip(holes, distance, strict=True):
        near = places[np.linalg.norm(places - hole, axis=1) < radius + 1e-9]
        assert image[tuple(hole)] in image[tuple(near.T)]


def test_what_is_filled_lies_within_the_range(z):
    image = depth_image(z, 32)
    assert image.min() >= 0.1 - 1e-7
    assert image.max() <= 0.9 + 1e-7


def test_holes_outside_the_region_stay_zero_and_those_inside_are_filled(z):
    region = np.zeros(z.shape, dtype=bool)
    region[8:30, 10:40] = True
    image = depth_image(z, 32, region)[0].numpy()
    hole, inside = np.isnan(nearest_resize(z, 32)), nearest_resize(region, 32)
    assert (image[hole & ~inside] == 0).all()
    assert (image[hole & inside] >= 0.1 - 1e-7).all()


def test_a_flat_map_becomes_one_half():
    z = np.full((9, 9), 0.7, dtype=np.float32)
    z[2:4] = np.nan
    assert (depth_image(z, 16) == 0.5).all()


def test_the_three_channels_are_equal(z):
    image = depth_image(z, 32)
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.float32
    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])


def test_a_map_without_a_valid_pixel_is_refused():
    with pytest.raises(DataError, match="depth: expected a valid pixel at 16 × 16, got none"):
        depth_image(np.full((20, 20), np.nan, np.float32), 16)
