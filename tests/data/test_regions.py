import numpy as np

from fsad.data.regions import large_regions


def test_a_part_over_the_images_edge_is_kept_if_it_is_all_there_is():
    region = np.zeros((50, 60), bool)
    region[20:40] = True
    region[5, 5] = True
    expected = region.copy()
    expected[5, 5] = False
    np.testing.assert_array_equal(large_regions(region), expected)


def test_a_region_over_the_edge_is_scenery_beside_one_that_is_not():
    mask = np.zeros((50, 60), bool)
    mask[:, :6] = True
    mask[20:30, 20:30] = True
    expected = mask.copy()
    expected[:, :6] = False
    np.testing.assert_array_equal(large_regions(mask), expected)


def test_regions_that_touch_at_a_corner_are_one():
    mask = np.zeros((40, 40), bool)
    mask[5:15, 5:15] = mask[15:16, 15:16] = True
    np.testing.assert_array_equal(large_regions(mask), mask)


def test_without_a_large_region_nothing_is_kept():
    mask = np.zeros((40, 40), bool)
    mask[3, 3] = True
    assert not large_regions(mask).any()
    assert not large_regions(np.zeros((40, 40), bool)).any()
