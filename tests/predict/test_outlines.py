import numpy as np
import pytest

from fsad.predict.outlines import outlines


def area(points):
    x, y = points.T
    return abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2


def test_a_map_nowhere_above_the_threshold_has_none():
    assert outlines(np.full((9, 7), 2.0, np.float32), 2.0) == []


def test_a_discs_outline_encloses_its_area_around_its_middle():
    y, x = np.mgrid[:60, :80]
    cone = (20 - np.hypot(x - 30, y - 25)).astype(np.float32)  # 5 at radius 15
    (found,) = outlines(cone, 5.0)
    assert area(found.points) == pytest.approx(np.pi * 15**2, rel=0.01)
    np.testing.assert_allclose(found.points[:-1].mean(axis=0), [30, 25], atol=0.2)
    assert not found.is_hole


def test_a_region_cut_off_by_the_border_is_closed_and_within_the_pixels():
    values = np.zeros((20, 30), np.float32)
    values[:, 22:] = 1
    (found,) = outlines(values, 0.5)
    np.testing.assert_array_equal(found.points[0], found.points[-1])
    low, high = found.points.min(axis=0), found.points.max(axis=0)
    assert (low >= -0.5).all()
    assert (high <= [29.5, 19.5]).all()
    assert low[0] == pytest.approx(21.5)


def test_a_ring_has_an_outline_and_a_hole_and_the_larger_comes_first():
    y, x = np.mgrid[:60, :60]
    ring = (10 - np.abs(np.hypot(x - 30, y - 30) - 15)).astype(np.float32)
    outer, inner = outlines(ring, 5.0)
    assert (outer.is_hole, inner.is_hole) == (False, True)
    assert area(outer.points) == pytest.approx(np.pi * 400, rel=0.01)
    assert area(inner.points) == pytest.approx(np.pi * 100, rel=0.02)
