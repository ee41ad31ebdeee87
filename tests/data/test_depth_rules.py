"""Which numbers of a depth file are readings, and in what unit."""

import re

import numpy as np
import pytest

from fsad.data.depth_rules import DepthRules
from fsad.errors import ConfigError, DataError


def points(z, x=0.1):
    z = np.asarray(z, np.float32)
    return np.stack([np.full_like(z, x), np.zeros_like(z), z], axis=-1)


def test_only_zero_in_all_three_and_what_is_not_finite_is_no_reading():
    array = points([[0.5, 0.0, -0.2, np.nan, np.inf]])
    array = np.concatenate([array, np.zeros((1, 1, 3), np.float32)], axis=1)
    np.testing.assert_array_equal(
        DepthRules().depth(array, "a"), np.float32([[0.5, 0, -0.2, np.nan, np.nan, np.nan]])
    )


def test_a_point_of_which_one_number_is_not_finite_is_no_reading():
    array = points([[0.5, 0.6]])
    array[0, 0, 0] = np.nan
    assert np.isnan(DepthRules().depth(array, "a")[0]).tolist() == [True, False]


def test_in_a_map_zero_is_no_reading_and_a_negative_height_is_one():
    z = np.float64([[0.0, -3.0, 2.0, -np.inf]])
    np.testing.assert_array_equal(DepthRules().depth(z, "a"), np.float32([[np.nan, -3, 2, np.nan]]))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_numbers_that_mean_no_reading_are_none(dtype):
    z = np.array([[65535, 500, 1, 65535]], dtype)
    read = DepthRules(invalid=(65535, 1)).depth(z, "a")
    assert np.isfinite(read).tolist() == [[False, True, False, False]]


def test_what_lies_outside_the_range_is_no_reading():
    read = DepthRules(z_range=(0.3, 0.9)).depth(points([[0.29, 0.3, 0.9, 0.91, -1]]), "a")
    assert np.isfinite(read).tolist() == [[False, True, True, False, False]]


def test_millimetres_come_out_in_metres_and_the_other_rules_are_in_the_files_numbers():
    rules = DepthRules(invalid=(65535,), z_range=(300, 900), unit="mm")
    array = points([[500, 65535, 1000]], x=100)
    np.testing.assert_allclose(rules.depth(array, "a"), [[0.5, np.nan, np.nan]])
    np.testing.assert_allclose(rules.points(array, "a"), [[[0.1, 0, 0.5], [0, 0, 0], [0, 0, 0]]])


def test_rules_come_back_from_json_and_those_not_told_are_as_before_they_were_there():
    rules = DepthRules((65535,), (0.3, 0.9), "mm", "area")
    assert DepthRules.from_json(rules.to_json()) == rules
    assert DepthRules.from_json(None) == DepthRules((), None, None, "nearest")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"invalid": 65535},
            "data.invalid: expected a list of finite numbers such as [65535], got 65535",
        ),
        (
            {"invalid": ["a"]},
            "data.invalid: expected a list of finite numbers such as [65535], got ['a']",
        ),
        ({"z_range": [1]}, "data.z_range: expected the lowest and the highest depth, as in "),
        ({"z_range": [2, 1]}, "[0.3,0.9], got [2, 1]"),
        ({"z_range": 5}, "data.z_range: expected the lowest and the highest depth, as in "),
        ({"z_range": [0, float("inf")]}, "[0.3,0.9], got [0, inf]"),
        ({"invalid": [float("nan")]}, "finite numbers such as [65535], got [nan]"),
        ({"unit": ["m"]}, "data.unit: expected one of m, mm, got ['m']"),
        ({"unit": "cm"}, "data.unit: expected one of m, mm, got 'cm'"),
        ({"shrink": "cubic"}, "data.shrink: expected one of area, nearest, got 'cubic'"),
    ],
)
def test_a_rule_out_of_range_is_refused(setting, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        DepthRules(**setting)


@pytest.mark.parametrize(
    "array", [np.ones(4), np.ones((4, 4, 2)), np.ones((0, 4)), np.ones((4, 4), complex)]
)
def test_numbers_of_another_shape_or_kind_are_refused(array):
    message = re.escape(
        f"x: expected depth (H, W) or points (H, W, 3) of numbers, got {array.shape}"
    )
    with pytest.raises(DataError, match=message):
        DepthRules().depth(array, "x")


def test_depth_alone_has_no_points():
    with pytest.raises(
        DataError, match=r"x: expected points \(H, W, 3\), got depth alone\. The gr"
    ):
        DepthRules().points(np.ones((4, 4)), "x")


def test_a_file_without_a_reading_is_refused_and_so_is_one_that_the_rules_leave_none():
    with pytest.raises(DataError, match="x: expected at least one depth that is finite and not 0,"):
        DepthRules().depth(np.zeros((4, 4)), "x")
    with pytest.raises(DataError, match=r"got none after data\.invalid and data\.z_range"):
        DepthRules(invalid=(7,)).depth(np.full((4, 4), 7.0), "x")


def test_where_readings_can_be_goes_with_the_unit_and_the_invalid_numbers_stay():
    rules = DepthRules((65535,), (0.3, 0.9)).in_unit("mm")
    assert rules == DepthRules((65535,), (300.0, 900.0), "mm")
    back = DepthRules(unit="mm", z_range=(300, 900)).in_unit("m")
    assert back.z_range == pytest.approx((0.3, 0.9))
    with pytest.raises(ConfigError, match="--unit: expected one of m, mm, got 'cm'"):
        rules.in_unit("cm")


def test_what_float32_cannot_hold_is_no_reading():
    read = DepthRules().depth(np.array([[1e300, 0.5, -1e39]]), "a")
    assert np.isfinite(read).tolist() == [[False, True, False]]
