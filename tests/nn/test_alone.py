"""An image's features are its own, to the last bit, whatever comes beside it."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from small_backbones import SMALL, cnn, images, vit
from torch import nn

from fsad.nn.adapter import AdaptedExtractor, CachedExtractor
from fsad.nn.alone import image_by_image
from fsad.nn.unlearnt import CellExtractor, PixelExtractor, SiftExtractor

CONF = Path(__file__).parents[2] / "conf" / "backbone"
BACKBONES = sorted(path.stem for path in CONF.glob("*.yaml"))
# PyTorch has one way to convolve a lone small image, a second for several, a third from 16 on.
BATCHES = (1, 2, 6, 17)


def adapted(extractor):
    """The extractor as methods see it, with adapters that change something."""
    found = AdaptedExtractor(extractor, hidden=4)
    generator = torch.Generator().manual_seed(0)
    for parameter in found.adapters.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) / 10)
    return found


def differences(extractor, size):
    """Return the batch sizes in which some image has other features than alone."""
    pixels = images(max(BATCHES), size)
    with torch.no_grad():
        alone = torch.cat([extractor(image, "target") for image in pixels.split(1)])
        return [n for n in BATCHES if not torch.equal(extractor(pixels[:n], "target"), alone[:n])]


@pytest.mark.parametrize("name", BACKBONES)
def test_an_images_features_do_not_depend_on_its_batch_for_every_backbone(name):
    """At sizes so small that a lone image is convolved otherwise than several."""
    patch = 14 if name == "dinov2_vits14" else 16
    sizes = (2 * patch, 4 * patch) if name in ("tiny", "resnet18") else (2 * patch,)
    for size in sizes:
        changes = {"pretrained": name == "tiny"}
        group = OmegaConf.merge(OmegaConf.load(CONF / f"{name}.yaml"), changes)
        whole = OmegaConf.create({"data": {"image_size": size}, "backbone": group})
        assert differences(adapted(instantiate(whole.backbone)), size) == []


def test_on_several_threads_too_an_images_features_do_not_depend_on_its_batch():
    """Threads share out the rows of a small matrix product, those of all images."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        small = {"image_size": 16, "layers": [0], "model_args": SMALL | {"depth": 1}}
        assert differences(adapted(vit(**small)), 16) == []
    finally:
        torch.set_num_threads(before)


def test_clean_features_beside_perturbed_ones_do_not_depend_on_their_batch():
    extractor, pixels = adapted(cnn(image_size=32)), images(6, 32)
    together, _ = extractor.clean_and_perturbed(pixels, "source", lambda _, features: features)
    for number, image in enumerate(pixels.split(1)):
        alone, _ = extractor.clean_and_perturbed(image, "source", lambda _, features: features)
        assert torch.equal(alone[0], together[number])


@pytest.mark.parametrize("kind", [PixelExtractor, CellExtractor, SiftExtractor])
def test_an_images_features_do_not_depend_on_its_batch_where_nothing_is_learnt(kind):
    for size in (32, 64):
        assert differences(CachedExtractor(kind(size)), size) == []


def test_each_image_is_alone_on_a_cpu_and_gradients_reach_it():
    seen = []
    convolution = nn.Conv2d(3, 4, 3)

    def record(pixels):
        seen.append(len(pixels))
        return convolution(pixels)

    pixels = images(3).requires_grad_()
    found = image_by_image(record, pixels)
    assert seen == [1, 1, 1]
    torch.testing.assert_close(found, convolution(pixels))
    found.sum().backward()
    assert (pixels.grad.flatten(1).abs().sum(dim=1) > 0).all()


def test_no_image_at_all_goes_through_as_it_is():
    assert image_by_image(nn.Conv2d(3, 4, 3), images(0)).shape == (0, 4, 62, 62)
