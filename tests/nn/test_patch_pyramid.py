"""The pyramid's sizes, what a patch sees, and networks side by side."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, pad

from fsad.errors import ConfigError, ShapeError
from fsad.nn.patch_pyramid import (
    BORDER,
    PatchDiscriminator,
    ResidualGenerator,
    pyramid_sizes,
    resize_matrix,
    resized,
    widths,
)


def test_the_published_pyramid():
    """26, 32, 41, 51, 64 with 256, 484, 961, 1681 and 2916 patches; 44.8 and 144.8 k weights."""
    sizes = pyramid_sizes(64, 5, 25)
    assert sizes == [26, 32, 41, 51, 64]
    assert [(size - 2 * BORDER) ** 2 for size in sizes] == [256, 484, 961, 1681, 2916]
    assert widths(5) == [32, 32, 32, 32, 64]
    counts = [
        sum(weight.numel() for weight in PatchDiscriminator(3, width, 55, 0).parameters())
        for width in (32, 64)
    ]
    assert [round(count / 1000, 1) for count in counts] == [44.8, 144.8]


@pytest.mark.parametrize("largest", [40, 64, 96, 128])
@pytest.mark.parametrize("scales", [2, 3, 5])
def test_sizes_rise_to_the_image(largest, scales):
    sizes = pyramid_sizes(largest, scales, 25)
    assert len(sizes) == scales
    assert sizes == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (26, largest)


@pytest.mark.parametrize("size", [26, 41, 64])
def test_a_resize_is_two_products_with_a_matrix(uniform, size):
    images, matrix = uniform(2, 3, 96, 96), resize_matrix(96, size).double()
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(size).double(), rtol=0, atol=1e-6)
    expected = interpolate(images, size=(size, size), mode="bicubic", antialias=True)
    torch.testing.assert_close(resized(images, matrix), expected, rtol=1e-5, atol=1e-6)


def test_an_output_moves_with_its_patch_of_11_pixels_and_no_other(normal):
    net = PatchDiscriminator(3, 8, 5, 0).double().eval()
    image = normal(1, 3, 26, 26).requires_grad_()
    out = net(image)
    assert out.shape == (1, 5, 16, 16)
    out[0, :, 4, 9].sum().backward()
    moved = image.grad[0].abs().sum(dim=0) > 0
    expected = torch.zeros(26, 26, dtype=torch.bool)
    expected[4:15, 9:20] = True
    assert torch.equal(moved, expected)


def test_at_first_every_class_is_about_as_likely():
    net = PatchDiscriminator(3, 32, 5, 0)
    images = torch.rand(8, 3, 26, 26, generator=torch.Generator().manual_seed(1)) * 2 - 1
    loss = cross_entropy(net(images), torch.arange(8)[:, None, None].expand(-1, 16, 16) % 5)
    assert loss.item() == pytest.approx(math.log(5), abs=0.1)


def copied(whole, single, number, channels):
    """Put one model's weights into its group of the whole network."""
    for ours, theirs in zip(whole.layers, single.layers, strict=True):
        if isinstance(ours, nn.Conv2d | nn.BatchNorm2d):
            with torch.no_grad():
                for name, value in theirs.state_dict().items():
                    target = ours.state_dict()[name]
                    if value.dim():
                        target.chunk(channels)[number].copy_(value)


def test_several_models_in_one_give_what_each_gives_alone(normal):
    models, images = 3, normal(2, 9, 26, 26)
    alone = [PatchDiscriminator(3, 8, 5, seed).double() for seed in range(models)]
    whole = PatchDiscriminator(3, 8, 5, 0, models).double()
    for number, single in enumerate(alone):
        copied(whole, single, number, models)
    parts = zip(alone, images.chunk(models, dim=1), strict=True)
    expected = torch.cat([net(part) for net, part in parts], dim=1)
    torch.testing.assert_close(whole(images), expected)  # by the batches' own statistics


def test_several_generators_in_one_give_what_each_gives_alone(normal):
    models, noise, before = 2, normal(2, 6, 26, 26), normal(2, 6, 26, 26)
    number = torch.arange(2)
    alone = [ResidualGenerator(3, 8, seed).double() for seed in range(models)]
    whole = ResidualGenerator(3, 8, 0, models).double()
    for place, single in enumerate(alone):
        copied(whole, single, place, models)
    parts = zip(alone, noise.chunk(models, dim=1), before.chunk(models, dim=1), strict=True)
    expected = torch.cat([net(*part, number) for net, *part in parts], dim=1)
    torch.testing.assert_close(whole(noise, before, number), expected)


def test_a_generator_adds_at_most_1_and_keeps_the_size(normal):
    net, noise, before = ResidualGenerator(3, 8, 0), normal(2, 3, 32, 32), normal(2, 3, 32, 32)
    out = net.double()(noise, before, torch.tensor([0, 1]))
    assert out.shape == before.shape
    assert (out - before).abs().max() <= 1


def test_a_generator_is_five_convolutions_of_what_is_padded_once(normal):
    """Padding once, by five pixels: layers between see no border of their own."""
    net = ResidualGenerator(1, 4, 0).double().eval()
    noise, before, number = normal(1, 1, 12, 12), normal(1, 1, 12, 12), torch.tensor([3])
    seen = torch.cat([noise + before, torch.full_like(noise, 3.0)], dim=1)
    expected = net.layers(pad(seen, (5, 5, 5, 5))).tanh() + before
    torch.testing.assert_close(net(noise, before, number), expected)


def test_the_seed_decides_the_weights_and_no_other_generator_moves():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, same, other = (PatchDiscriminator(3, 8, 5, seed).layers[0].weight for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_does_not_fit_is_refused():
    message = "largest: expected more than the 26 pixels of the coarsest scale, got 26"
    with pytest.raises(ConfigError, match=f"^{message}$"):
        pyramid_sizes(26, 5, 25)
    with pytest.raises(ConfigError, match="smallest: expected a whole number of at least 11"):
        pyramid_sizes(64, 5, 10)
    with pytest.raises(ConfigError, match="scales: expected a whole number of at least 2"):
        pyramid_sizes(64, 1, 25)
    with pytest.raises(ShapeError, match="before: expected"):
        ResidualGenerator(1, 4, 0)(torch.zeros(1, 1, 9, 9), torch.zeros(1, 1, 8, 9), torch.ones(1))
