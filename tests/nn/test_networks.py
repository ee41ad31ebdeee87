"""A network that a method trains: a copy of a backbone that leaves it as it was."""

import pytest
import torch
from small_backbones import cnn, images, vit

from fsad.errors import ConfigError, ShapeError
from fsad.nn.networks import Trunk
from fsad.nn.state_dict import fingerprint

LAST = {"stages": ["layer4"], "layers": [], "pool": 1}


@pytest.fixture(params=[vit, lambda: cnn(**LAST)], ids=["vit", "cnn"])
def extractor(request):
    return request.param()


@torch.no_grad()
def test_before_training_the_features_are_the_backbones_own(extractor):
    for trained in (True, False):
        trunk = Trunk(extractor, trained, 2).eval()
        maps = trunk(images())
        torch.testing.assert_close(maps[0], extractor(images(), "target"))
        assert [tuple(scale.shape[2:]) for scale in maps] == trunk.grids
        assert {scale.shape[1] for scale in maps} == {trunk.channels}


def test_training_leaves_the_backbone_as_it_was(extractor):
    trunk = Trunk(extractor, True, 2).train()
    adam = torch.optim.Adam(trunk.parameters(), lr=0.01)
    before = {name: weight.clone() for name, weight in trunk.state_dict().items()}
    sum(scale.square().mean() for scale in trunk(images())).backward()
    adam.step()
    changed = [name for name, it in trunk.state_dict().items() if not torch.equal(it, before[name])]
    assert len(changed) > len(before) // 2
    assert fingerprint(extractor.net.state_dict()) == extractor.sha256
    extractor.refuse_training()


def test_batch_norm_learns_in_training_and_rests_in_evaluation():
    trunk = Trunk(cnn(**LAST), True, 1)
    mean = trunk.get_buffer("body.net.bn1.running_mean")
    before = mean.clone()
    with torch.no_grad():
        trunk.eval()(images())
        assert torch.equal(mean, before)
        trunk.train()(images())
    assert not torch.equal(mean, before)


def test_a_frozen_trunk_has_no_weights_of_its_own(extractor):
    trunk = Trunk(extractor, False, 2).train()
    assert not trunk.state_dict()
    assert not extractor.net.training
    pixels = images().requires_grad_()
    trunk(pixels)[1].sum().backward()  # maps are made of gradients at the pixels
    assert pixels.grad.abs().sum() > 0


@torch.no_grad()
def test_a_coarser_scale_is_the_network_on_every_other_pixel():
    large, small = cnn(**LAST), cnn(**LAST, image_size=32)
    small.net.load_state_dict(large.net.state_dict())
    torch.testing.assert_close(
        large.at_scale(images(), "source", 1), small(images()[..., ::2, ::2], "source")
    )


@torch.no_grad()
def test_a_network_of_one_size_sees_the_small_image_enlarged_again():
    extractor = vit()
    coarse = images()[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    found = extractor.at_scale(images(), "source", 1)
    torch.testing.assert_close(found, extractor(coarse, "source"))


def test_a_trained_trunk_takes_no_gradient_in_half_precision(extractor):
    extractor.autocast = torch.float16
    assert Trunk(extractor, True, 1).body.autocast is None
    assert Trunk(extractor, False, 1).body is None
    assert extractor.autocast == torch.float16


def test_bad_arguments_are_named(extractor):
    with pytest.raises(ConfigError, match="scales: expected a whole number of at least 1"):
        Trunk(extractor, True, 0)
    with pytest.raises(ShapeError, match="images: expected"):
        extractor.at_scale(images(size=32), "source", 1)
    with pytest.raises(ConfigError, match=r"backbone\.pool: expected an odd number"):
        cnn(pool=2)
