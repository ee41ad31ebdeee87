"""Half precision is the backbone's alone: features come out in float32, near those of float32."""

import pytest
import torch
from small_backbones import cnn, images, vit

from fsad.nn.adapter import AdaptedExtractor


@pytest.mark.parametrize("backbone", [vit, cnn])
@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 8), (torch.float16, 11)])
@torch.no_grad()
def test_features_are_float32_and_differ_by_the_rounding_of_the_precision(backbone, dtype, bits):
    extractor = backbone()
    exact = extractor(images())
    with extractor.in_precision(dtype):
        half = extractor(images())
    assert half.dtype == torch.float32
    difference = (half - exact).norm() / exact.norm()
    # Rounding errors of some dozen products, each at most half a unit in the last of `bits` places.
    assert 0 < difference < 8 * 2.0**-bits


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_perturbations_see_float32(dtype):
    extractor = vit()
    seen = []

    def after(_, features):
        seen.append(features.dtype)
        return features

    with extractor.in_precision(dtype):
        extractor(images(), after=after)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("backbone", [vit, cnn])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_adapter_gets_a_gradient_in_half_precision(backbone, dtype):
    adapted = AdaptedExtractor(backbone(), hidden=4)
    with adapted.extractor.in_precision(dtype):
        clean, perturbed = adapted.clean_and_perturbed(images(), "source", lambda _, it: 2 * it)
    (perturbed - clean).square().mean().backward()
    for adapter in adapted.adapters.values():
        assert adapter.up.weight.grad.abs().max() > 0


def test_float16_trains_in_float32_because_its_gradients_would_vanish():
    adapted = AdaptedExtractor(vit(), hidden=4)
    used = []
    suffix = adapted.extractor._suffix

    def watching(state, after):
        used.append((after is not None, torch.is_autocast_enabled("cpu")))
        return suffix(state, after)

    adapted.extractor._suffix = watching
    with adapted.extractor.in_precision(torch.float16):
        adapted.clean_and_perturbed(images(), "source", lambda _, it: it)
    assert (True, False) in used
    assert (False, True) in used


@torch.no_grad()
def test_the_precision_of_before_is_back_after_the_block():
    extractor = vit()
    exact = extractor(images())
    with extractor.in_precision(torch.bfloat16):
        pass
    assert torch.equal(extractor(images()), exact)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
@torch.no_grad()
def test_a_gpu_gives_the_features_of_the_cpu(dtype):
    extractor = vit()
    exact = extractor(images())
    extractor.cuda()
    with extractor.in_precision(dtype):
        ours = extractor(images().cuda()).cpu()
    assert ours.dtype == torch.float32
    assert (ours - exact).norm() / exact.norm() < (1e-3 if dtype is None else 8 * 2.0**-8)
