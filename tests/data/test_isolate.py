"""The part alone: ground removed, holes filled."""

import numpy as np
import pytest
from box_scene import FOCAL, SIZE, box_points, lose
from scipy import ndimage

from fsad.data.prepare.isolate import isolate
from fsad.errors import DataError

THRESHOLD = 0.005


def run(xyz, threshold=THRESHOLD, seed=0):
    return isolate(xyz, threshold, np.random.default_rng(seed))


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.fixture(params=range(5), ids=lambda seed: f"seed{seed}")
def scene(request):
    """Return whole points, the points as measured, what was lost, and the box."""
    whole, box = box_points(request.param, noise=3e-4)
    measured, lost = lose(whole, 0.15, request.param)
    return whole, measured, lost, box


def test_the_part_is_the_box(scene):
    _, measured, _, box = scene
    _, part = run(measured)
    assert iou(part, box) > 0.95


def test_the_part_is_exactly_the_box_where_nothing_is_lost_or_noisy():
    xyz, box = box_points()
    clean, part = run(xyz)
    np.testing.assert_array_equal(part, box)
    np.testing.assert_array_equal(clean, np.where(box[..., None], xyz, 0))


def test_points_measured_on_the_part_are_unchanged(scene):
    _, measured, lost, _ = scene
    clean, part = run(measured)
    np.testing.assert_array_equal(clean[part & ~lost], measured[part & ~lost])


def test_every_pixel_has_a_point_inside_the_part_and_none_outside(scene):
    _, measured, _, _ = scene
    clean, part = run(measured)
    assert clean.dtype == np.float32
    np.testing.assert_array_equal(clean[..., 2] != 0, part)
    np.testing.assert_array_equal(clean[~part], 0)


def test_filled_points_are_near_the_truth_and_on_their_own_ray(scene):
    whole, measured, lost, box = scene
    clean, part = run(measured)
    filled = part & lost & ndimage.binary_erosion(box)
    assert filled.sum() > 50
    np.testing.assert_allclose(clean[filled], whole[filled], atol=0.004)
    row, column = np.nonzero(filled)
    x, y, z = clean[filled].T
    np.testing.assert_allclose(x / z * FOCAL + (SIZE - 1) / 2, column, atol=1e-3)
    np.testing.assert_allclose(y / z * FOCAL + (SIZE - 1) / 2, row, atol=1e-3)


def test_a_large_hole_without_measurements_is_filled():
    xyz, box = box_points()
    row, column = np.argwhere(box).mean(axis=0).astype(int)
    xyz[row - 6 : row + 6, column - 6 : column + 6] = 0
    _, part = run(xyz)
    np.testing.assert_array_equal(part, box)


def test_a_hole_that_shows_the_ground_keeps_the_grounds_points():
    xyz, box = box_points()
    ground, _ = box_points(height=0)
    row, column = np.argwhere(box).mean(axis=0).astype(int)
    hole = np.s_[row - 6 : row + 6, column - 6 : column + 6]
    xyz[hole] = ground[hole]
    clean, part = run(xyz)
    np.testing.assert_array_equal(part, box)
    np.testing.assert_array_equal(clean[hole], ground[hole])


def test_an_unmeasured_groove_does_not_cut_the_part_in_two():
    xyz, box = box_points()
    row = int(np.argwhere(box)[:, 0].mean())
    xyz[row : row + 3] = 0
    _, part = run(xyz)
    assert iou(part, box) > 0.99


def test_what_touches_the_images_edge_is_scenery():
    xyz, box = box_points()
    xyz[:, :6] = 0.8 * xyz[:, :6]  # nearer to the camera, over the whole left edge
    clean, part = run(xyz)
    np.testing.assert_array_equal(part, box)
    np.testing.assert_array_equal(clean[:, :6], 0)


def test_points_behind_the_ground_are_removed():
    xyz, box = box_points()
    xyz[70:90, 5:25] *= 1.2
    _, part = run(xyz)
    np.testing.assert_array_equal(part, box)


def test_another_unit_of_length_gives_the_same_part(scene):
    _, measured, _, _ = scene
    _, metres = run(measured)
    _, millimetres = run(measured * np.float32(1024), 1024 * THRESHOLD)
    np.testing.assert_array_equal(metres, millimetres)


def test_values_that_are_not_numbers_count_as_unmeasured(scene):
    _, measured, lost, _ = scene
    clean, part = run(measured)
    other, other_part = run(np.where(lost[..., None], np.float32(np.nan), measured))
    np.testing.assert_array_equal(part, other_part)
    np.testing.assert_array_equal(clean, other)


def test_an_image_without_measurements_is_refused():
    with pytest.raises(DataError, match="xyz: expected measured points, got none"):
        run(np.zeros((SIZE, SIZE, 3), np.float32))


def test_a_border_without_measurements_is_refused():
    xyz, box = box_points()
    with pytest.raises(DataError, match="xyz: expected the ground at the image's border; points"):
        run(np.where(box[..., None], xyz, 0))


def test_ground_without_a_part_is_refused():
    xyz, _ = box_points(height=0)
    with pytest.raises(DataError, match=r"a part more than 0\.005 above the ground, got none\. Lo"):
        run(xyz)


def test_an_image_of_one_depth_is_refused():
    axis = np.linspace(-0.1, 0.1, SIZE)
    x, y = np.meshgrid(axis, axis)
    with pytest.raises(DataError, match="above the ground, got none"):
        run(np.stack([x, y, np.ones_like(x)], axis=-1))
