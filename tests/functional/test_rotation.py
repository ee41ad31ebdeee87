"""Turning images."""

import pytest
import torch
from torch.testing import assert_close

from fsad.functional.rotation import rotate, rotate_each


def test_a_quarter_turn_moves_every_pixel_and_changes_none():
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert_close(rotate(pixels, 90.0), torch.rot90(pixels, 1, (2, 3)), rtol=0, atol=1e-5)
    assert rotate(pixels, 0.0) is pixels


@pytest.mark.parametrize("degrees", [30.0, 45.0])
def test_the_corners_of_a_turned_image_mirror_its_border(degrees):
    pixels = torch.full((1, 3, 32, 32), 0.25)
    pixels[..., 8:24, 8:24] = 1.0
    around = rotate(pixels, degrees)
    assert around.shape == pixels.shape
    corners = around[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    assert_close(corners, torch.full_like(corners, 0.25))


@pytest.mark.parametrize("shape", [(16, 16), (16, 40), (90, 20)])
@pytest.mark.parametrize("degrees", [45.0, 90.0])
def test_no_pixel_of_a_turned_image_is_made_up(shape, degrees):
    pixels = 0.5 + 0.4 * torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
    turned = rotate(pixels, degrees)
    assert turned.shape == pixels.shape
    assert turned.min() >= 0.5 - 1e-6  # nothing of the black beside an image
    assert turned.max() <= 0.9 + 1e-6


@pytest.mark.parametrize("turns", range(-2, 3))
def test_a_quarter_turn_of_each_image_moves_every_pixel_and_changes_none(turns):
    images = torch.rand(3, 2, 17, 17, dtype=torch.float64, generator=torch.manual_seed(0))
    degrees = torch.tensor([0.0, 90.0 * turns, 33.0], dtype=torch.float64)
    found = rotate_each(images, degrees)
    torch.testing.assert_close(found[0], images[0])
    torch.testing.assert_close(found[1], torch.rot90(images[1], turns, (1, 2)))
    torch.testing.assert_close(rotate_each(images[2:], degrees[2:])[0], found[2])


def test_rotating_each_goes_the_way_that_rotating_all_does():
    images = torch.rand(2, 1, 32, 32, generator=torch.manual_seed(0))
    apart = rotate_each(images, torch.full((2,), 30.0)) - rotate(images, 30.0)
    assert apart[..., 8:24, 8:24].abs().max() < 1e-4
