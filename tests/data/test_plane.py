"""The plane through most points."""

import numpy as np
import pytest
from scipy.stats import special_ortho_group

from fsad.data.prepare.plane import Plane, distance, fit_plane
from fsad.errors import ConfigError, DataError


def points_on_plane(rng, count=200):
    """Return points on a random plane well away from the camera, its unit normal and offset."""
    normal = rng.standard_normal(3)
    normal /= np.linalg.norm(normal)
    offset = -rng.uniform(0.5, 1.0)
    points = rng.standard_normal((count, 3))
    return points - (points @ normal - offset)[:, None] * normal, normal, offset


@pytest.fixture(params=range(5), ids=lambda seed: f"seed{seed}")
def rng(request):
    return np.random.default_rng(request.param)


def test_points_on_a_plane_give_that_plane(rng):
    points, normal, offset = points_on_plane(rng)
    plane = fit_plane(points, 0.01, 50, rng)
    np.testing.assert_allclose(plane.normal, normal, atol=1e-12)
    assert plane.offset == pytest.approx(offset, abs=1e-12)


def test_three_points_are_enough(rng):
    points, _, _ = points_on_plane(rng, 3)
    np.testing.assert_allclose(distance(points, fit_plane(points, 0.01, 50, rng)), 0, atol=1e-9)


def test_moving_the_points_rigidly_moves_the_plane_with_them(rng):
    points, _, _ = points_on_plane(rng)
    points = points + 0.01 * rng.standard_normal(points.shape)
    turn = special_ortho_group.rvs(3, random_state=rng)
    shift = rng.standard_normal(3)
    before = fit_plane(points, 0.03, 50, np.random.default_rng(7))
    after = fit_plane(points @ turn.T + shift, 0.03, 50, np.random.default_rng(7))
    moved_normal = turn @ before.normal
    sign = np.sign(moved_normal @ after.normal)  # the camera may now be on the other side
    np.testing.assert_allclose(after.normal, sign * moved_normal, atol=1e-9)
    assert after.offset == pytest.approx(sign * (before.offset + moved_normal @ shift), abs=1e-9)


def test_two_points_in_five_may_lie_anywhere(rng):
    points, normal, _ = points_on_plane(rng, 300)
    points[:300] += 0.001 * rng.standard_normal((300, 1)) * normal
    points[:120] = rng.uniform(-3, 3, (120, 3))
    plane = fit_plane(points, 0.005, 200, rng)
    assert abs(plane.normal @ normal) > np.cos(np.deg2rad(0.1))
    np.testing.assert_allclose(np.abs(distance(points[120:], plane)), 0, atol=0.006)


def test_the_same_generator_state_gives_the_same_plane(rng):
    points = rng.standard_normal((100, 3))
    first = fit_plane(points, 0.1, 20, np.random.default_rng(3))
    second = fit_plane(points, 0.1, 20, np.random.default_rng(3))
    np.testing.assert_array_equal(first.normal, second.normal)
    assert first.offset == second.offset


def test_least_squares_agrees_with_regression_where_all_points_are_near(rng):
    flat = rng.uniform(-1, 1, (400, 2))
    points = np.c_[flat, 5 + flat @ [0.2, -0.1] + 1e-5 * rng.standard_normal(400)]
    plane = fit_plane(points, 0.01, 50, rng)
    slope, *_ = np.linalg.lstsq(np.c_[flat, np.ones(400)], points[:, 2], rcond=None)
    expected = np.array([*slope[:2], -1]) / np.linalg.norm([*slope[:2], -1])
    np.testing.assert_allclose(plane.normal, expected, atol=1e-8)


def test_distance_is_positive_towards_the_camera(rng):
    points, _, _ = points_on_plane(rng)
    plane = fit_plane(points, 0.01, 50, rng)
    assert distance(np.zeros(3), plane) == pytest.approx(-plane.offset)
    assert distance(np.zeros(3), plane) > 0
    assert distance(np.zeros((4, 5, 3)), plane).shape == (4, 5)


def test_distance_is_the_length_along_the_normal():
    plane = Plane(np.array([0.0, 0.0, -1.0]), -2.0)
    np.testing.assert_array_equal(distance(np.array([[1, 1, 1.5], [0, 9, 3]]), plane), [0.5, -1])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_points_are_refused(rng, count):
    with pytest.raises(DataError, match=rf"points: expected at least 3 .*, got {count}"):
        fit_plane(np.ones((count, 3)), 0.01, 10, rng)


def test_points_on_one_line_are_refused(rng):
    line = np.linspace(0, 1, 50)[:, None] * [1.0, 2.0, 3.0] + [5.0, 0.0, 1.0]
    with pytest.raises(DataError, match="expected a surface to fit a plane to, got points on one"):
        fit_plane(line, 0.01, 10, rng)
    with pytest.raises(DataError, match="expected a surface to fit a plane to, got points on one"):
        fit_plane(np.ones((10, 3)), 0.01, 10, rng)


def test_thresholds_and_trials_of_zero_are_refused(rng):
    points = rng.standard_normal((10, 3))
    with pytest.raises(ConfigError, match="threshold: expected a number above 0, got 0"):
        fit_plane(points, 0, 10, rng)
    with pytest.raises(ConfigError, match="trials: expected a whole number of at least 1, got 0"):
        fit_plane(points, 0.1, 0, rng)
