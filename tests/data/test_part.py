import numpy as np
import pytest
import torch
from scipy import ndimage

from fsad.data.part import part_mask

SHAPE = (90, 120)
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]]
DISC = (ROWS - 40) ** 2 + (COLUMNS - 65) ** 2 < 20**2


def ground(tilt=(0.3, 0.1)):
    """A tilted plane under a perspective camera: affine in 1/z."""
    return 1 / (1.5 + tilt[0] * ROWS / SHAPE[0] + tilt[1] * COLUMNS / SHAPE[1])


def scene(part=DISC, height=0.03, tilt=(0.3, 0.1)):
    return (ground(tilt) - height * part).astype(np.float32)


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.3, 0.1), (-0.5, 0.4)])
def test_a_part_on_a_noise_free_ground_is_found_exactly(tilt):
    np.testing.assert_array_equal(part_mask(scene(tilt=tilt)), DISC)


@pytest.mark.parametrize("seed", range(5))
def test_a_noisy_ground_with_lost_pixels_gives_the_part_but_for_its_edge(seed):
    # What MVTec 3D-AD's sensor does: 0.5 mm of noise, 40 % lost on the ground, 5 % on the part.
    rng = np.random.default_rng(seed)
    z = scene() + rng.normal(0, 0.0005, SHAPE).astype(np.float32)
    z[rng.random(SHAPE) < np.where(DISC, 0.05, 0.4)] = np.nan
    found = part_mask(z)
    core = ndimage.binary_erosion(DISC, iterations=2)  # a lost pixel may notch the edge
    assert (found <= DISC).all()
    assert (core <= found).all()
    assert ndimage.label(found, np.ones((3, 3)))[1] == 1


def test_holes_in_the_part_belong_to_it():
    z = scene()
    z[35:42, 60:70] = np.nan
    np.testing.assert_array_equal(part_mask(z), DISC)


def test_a_hole_through_which_the_ground_is_seen_belongs_to_the_part():
    hole = (ROWS - 40) ** 2 + (COLUMNS - 65) ** 2 < 5**2
    np.testing.assert_array_equal(part_mask(scene(DISC & ~hole)), DISC)


def test_walls_at_the_border_are_no_part():
    z = scene()
    z[:8] = 0.4
    np.testing.assert_array_equal(part_mask(z), DISC)


def test_a_part_that_reaches_the_border_is_found_if_nothing_else_stands_out():
    bar = abs(ROWS - 45) < 10
    np.testing.assert_array_equal(part_mask(scene(bar)), bar)


def test_two_parts_are_both_found():
    both = DISC | (((ROWS - 70) ** 2 + (COLUMNS - 20) ** 2) < 12**2)
    np.testing.assert_array_equal(part_mask(scene(both)), both)


def test_what_is_farther_than_the_ground_is_no_part():
    pit = (slice(70, 85), slice(10, 30))
    z = scene()
    z[pit] += 0.05
    np.testing.assert_array_equal(part_mask(z), DISC)


def test_the_unit_of_length_does_not_matter():
    z = scene()
    for unit in (1000.0, 0.01):
        np.testing.assert_array_equal(part_mask(z * np.float32(unit)), part_mask(z))


@pytest.mark.parametrize("axis", [0, 1])
def test_mirroring_the_scene_mirrors_the_part(axis):
    z = scene()
    np.testing.assert_array_equal(part_mask(np.flip(z, axis)), np.flip(part_mask(z), axis))


def test_other_random_generators_do_not_matter():
    rng = np.random.default_rng(0)
    z = scene() + rng.normal(0, 0.002, SHAPE).astype(np.float32)
    first = part_mask(z)
    np.random.seed(5)
    torch.manual_seed(5)
    np.testing.assert_array_equal(part_mask(z), first)


def test_where_the_ground_was_removed_the_valid_pixels_are_the_part():
    z = np.where(DISC, scene(), np.nan).astype(np.float32)
    z[38:41, 62:66] = np.nan
    np.testing.assert_array_equal(part_mask(z), DISC)


def test_where_nothing_stands_out_the_valid_pixels_are_the_part():
    z = ground().astype(np.float32)
    z[:, 100:] = np.nan
    np.testing.assert_array_equal(part_mask(z), np.isfinite(z))


def test_where_no_plane_explains_the_border_the_valid_pixels_are_the_part():
    z = np.random.default_rng(0).uniform(0.5, 1.0, SHAPE).astype(np.float32)
    assert part_mask(z).all()


def test_a_ground_seen_along_one_line_only_is_no_ground():
    z = np.full((1, 60), 0.7, dtype=np.float32)
    assert part_mask(z).all()


def test_a_map_without_a_valid_pixel_has_no_part():
    assert not part_mask(np.full(SHAPE, np.nan, np.float32)).any()


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.3, 0.1), (-0.5, 0.4)])
def test_a_camera_that_looks_along_minus_z_sees_the_same_part(tilt):
    np.testing.assert_array_equal(part_mask(-scene(tilt=tilt)), DISC)


@pytest.mark.parametrize("offset", [-10.0, 0.0, 3.0, -40.0])
@pytest.mark.parametrize("seed", range(3))
def test_in_heights_about_a_plane_the_part_is_what_lies_higher(offset, seed):
    rng = np.random.default_rng(seed)
    plane = offset - 4 * ROWS / SHAPE[0] + 2 * COLUMNS / SHAPE[1]  # a profiler's, in mm
    z = (plane + 20 * DISC + rng.normal(0, 0.2, SHAPE)).astype(np.float32)
    assert (z <= 0).any()
    np.testing.assert_array_equal(part_mask(z), DISC)
