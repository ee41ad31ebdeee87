"""Backbones on images that are no squares, or smaller than their canvas."""

import pytest
import torch
from small_backbones import cnn, images, saved, vit
from torch.testing import assert_close

from fsad.errors import ConfigError
from fsad.nn.positions import stretch_positions
from fsad.nn.tiny import TinyVit
from fsad.nn.unlearnt import SiftExtractor

SHAPE = (32, 96)  # for a cell of 8, 4 x 12 patches
WIDE = [
    pytest.param(lambda **options: cnn(**options), id="cnn"),
    pytest.param(lambda **options: vit(**options), id="vit"),
    pytest.param(lambda image_size: SiftExtractor(image_size), id="sift"),
]


def pixels(height, width, seed=0):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("make", WIDE)
def test_a_patch_stays_a_square_of_pixels(make):
    extractor = make(image_size=SHAPE)
    features = extractor(pixels(*SHAPE))
    assert features.shape[2:] == extractor.grid == (4, 12)
    assert extractor.image_size == SHAPE
    assert features.isfinite().all()


@pytest.mark.parametrize("make", WIDE)
def test_two_equal_sides_are_the_square(make):
    one, both = make(image_size=64), make(image_size=(64, 64))
    assert torch.equal(one(images()), both(images()))
    assert one.identity() == both.identity()


@pytest.mark.parametrize("make", WIDE)
def test_what_stands_beside_an_image_does_not_reach_the_network(make):
    extractor = make(image_size=SHAPE)
    extractor.skips = True
    image = pixels(*SHAPE)
    whole = extractor(image)
    assert extractor.inside(image).all()
    extractor.skips = False
    assert torch.equal(extractor(image), whole)  # an image that fills its canvas is seen as ever
    assert extractor.inside(image) is None
    extractor.skips = True
    image[..., 48:] = -1
    other = image.clone()
    other[..., 48:] = -7.5
    assert torch.equal(extractor(image), extractor(other))
    inside = extractor.inside(image)
    assert inside[..., :6].all()
    assert not inside[..., 6:].any()


@pytest.mark.parametrize("make", WIDE)
def test_a_side_that_would_be_cropped_is_refused(make):
    with pytest.raises(ConfigError, match=r"data\.image_size: expected a multiple of (8|16) .*100"):
        make(image_size=(96, 100))


@pytest.mark.parametrize("rule", ["timm", "published"])
def test_positions_of_a_square_are_stretched_where_as_many_patches_are_none(tmp_path, rule):
    square = vit(image_size=128)  # 16 x 16 patches are as many as 8 x 32
    path = saved(square.net.state_dict(), tmp_path / "weights.pth")
    options = {"pretrained": True, "weights_path": path, "position_resize": rule}
    wide = vit(image_size=(64, 256), **options)
    assert wide.net.pos_embed.shape == square.net.pos_embed.shape
    assert not torch.allclose(wide.net.pos_embed, square.net.pos_embed)
    rows = wide.net.pos_embed[:, 1:].reshape(8, 32, -1)
    known = square.net.pos_embed[:, 1:].reshape(16, 16, -1)
    assert_close(rows[:, [0, -1]].mean(0), known[:, [0, -1]].mean(0), atol=0.02, rtol=0)
    if rule == "published":
        known = stretch_positions(square.net.state_dict(), (8, 32))["pos_embed"]
        assert torch.equal(wide.net.pos_embed, known)


def test_the_embedded_backbone_stretches_them_too():
    positions = torch.randn(1, 1 + 16**2, 128, generator=torch.Generator().manual_seed(0))
    fitted = TinyVit((64, 256)).fit({"pos_embed": positions}, "weights")["pos_embed"]
    assert fitted.shape == positions.shape
    assert torch.equal(fitted[:, 0], positions[:, 0])
    assert not torch.allclose(fitted, positions)


def test_a_cnn_sees_an_image_on_its_side_as_wide_as_tall():
    """Its grid turns with the image; its filters, which were learnt upright, do not."""
    wide, tall = cnn(image_size=SHAPE), cnn(image_size=SHAPE[::-1])
    for extractor in (wide, tall):  # filters that are the same on their side
        for weight in extractor.net.parameters():
            if weight.dim() == 4:
                weight.data = (weight + weight.transpose(2, 3)) / 2
    image = pixels(*SHAPE)
    turned = tall(image.transpose(2, 3))
    assert_close(turned.transpose(2, 3), wide(image), atol=1e-4, rtol=1e-4)
