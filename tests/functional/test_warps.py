"""Warps: each is its plain definition, all differ, and their maps come back where they belong."""

import re
from itertools import combinations

import pytest
import torch
from torch.nn.functional import pad

from fsad.errors import ConfigError, ShapeError
from fsad.functional.warps import GREY, SETS, Warp, warp_table, warps

SIZES = (26, 32, 41, 51, 64)


def plain(image, way):
    """An image ``(c, h, w)`` warped step by step, by padding and cropping."""
    size = image.shape[-1]
    if way.flip:
        image = image.flip(-1)
    step = max(1, round(0.15 * size))
    padded = pad(image[None], (step,) * 4, mode="reflect")[0]
    top, left = step - way.down * step, step - way.right * step
    image = torch.rot90(padded[:, top : top + size, left : left + size], way.turns, (1, 2))
    if way.grey:
        image = sum(weight * plane for weight, plane in zip(GREY, image, strict=True))
        image = image.expand(3, -1, -1)
    return image


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SETS)
def test_each_warp_is_its_plain_definition(uniform, name, size):
    images, ways = uniform(2, 3, size, size), warps(name)
    found = warp_table(ways, size).apply(images).view(2, len(ways), 3, size, size)
    for image, row in zip(images, found, strict=True):
        for way, warped in zip(ways, row, strict=True):
            torch.testing.assert_close(warped, plain(image, way))


@pytest.mark.parametrize(("name", "count"), [("rotations", 4), ("gray", 42), ("all", 54)])
def test_all_warps_of_a_set_differ_and_the_first_changes_nothing(uniform, name, count):
    image = uniform(1, 3, 26, 26)
    found = warp_table(warps(name), 26).apply(image)
    assert len(found) == count
    assert torch.equal(found[0], image[0])
    for one, other in combinations(found, 2):
        assert not torch.equal(one, other)


def test_a_set_of_fewer_is_the_beginning_of_one_of_more():
    assert warps("gray") == warps("all")[:42]
    assert not any(way.grey for way in warps("gray"))


@pytest.mark.parametrize("name", ["rotations", "gray"])
def test_maps_of_warped_images_come_back_to_the_image(uniform, name):
    images, table = uniform(3, 1, 32, 32), warp_table(warps(name), 32)
    votes = table.apply(images)[:, 0]
    torch.testing.assert_close(table.back(votes), images[:, 0])


@pytest.mark.parametrize("name", SETS)
def test_a_constant_map_stays(name):
    table = warp_table(warps(name), 26)
    votes = torch.full((2 * len(table), 26, 26), 0.25, dtype=torch.float64)
    torch.testing.assert_close(table.back(votes), torch.full((2, 26, 26), 0.25).double())


def test_one_vote_moves_the_pixel_that_it_is_about_and_no_other():
    table = warp_table([Warp(), Warp(turns=1)], 8)
    votes = torch.zeros(2, 8, 8)
    votes[1, 2, 5] = 1.0  # of the turned image, that is row 5, column 8 - 1 - 2
    expected = torch.zeros(1, 8, 8)
    expected[0, 5, 5] = 0.5
    assert torch.equal(table.back(votes), expected)


def test_grey_needs_three_colours():
    message = re.escape("images: expected (n, c, h, w) with h=26, w=26, c=3, got (1, 1, 26, 26)")
    with pytest.raises(ShapeError, match=f"^{message}$"):
        warp_table(warps("all"), 26).apply(torch.zeros(1, 1, 26, 26))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"transforms: expected one of rotations, gray, "):
        warps("mirrors")
    table = warp_table(warps("rotations"), 26)
    with pytest.raises(ShapeError, match=re.escape("images: expected (n, c, h, w) with h=26")):
        table.apply(torch.zeros(1, 3, 25, 26))
    with pytest.raises(ShapeError, match=re.escape("votes: expected (n, h, w) with h=26")):
        table.back(torch.zeros(4, 25, 26))
