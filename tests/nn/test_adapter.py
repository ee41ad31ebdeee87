import math

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d
from torch.testing import assert_close

from fsad.errors import ConfigError, NonFiniteError
from fsad.nn.adapter import AdaptedExtractor, DomainAdapter
from fsad.nn.extractor import PatchExtractor

C, HIDDEN = 5, 3


class TwoLayers(PatchExtractor):
    """The smallest backbone with two layers to adapt: a(x), then b(tanh(.))."""

    def __init__(self, layers=None):
        net = nn.ModuleDict({"a": nn.Conv2d(3, 4, 1), "b": nn.Conv2d(4, C, 1)})
        super().__init__(
            net.double(),
            name="two-layers",
            image_size=8,
            grid=(4, 4),
            channels=C,
            layers={"a": 4, "b": C} if layers is None else layers,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            normalize_depth=True,
            weights="random weights",
            architecture={},
        )

    def _prefix(self, images):
        return (self.net["a"](avg_pool2d(images, 2)),)

    def _suffix(self, state, after):
        first = self._changed("a", state[0], after)
        return self._changed("b", self.net["b"](first.tanh()), after)


@pytest.fixture
def adapter(normal):
    """An adapter with random weights everywhere, as after training."""
    module = DomainAdapter(C, HIDDEN).double()
    for parameter in module.parameters():
        parameter.data = normal(*parameter.shape)
    return module


@pytest.fixture
def adapted(normal):
    module = AdaptedExtractor(TwoLayers(), HIDDEN).double()
    for parameter in module.adapters.parameters():
        parameter.data = normal(*parameter.shape)
    return module


@pytest.fixture
def images(uniform):
    return uniform(2, 3, 8, 8)


def perturb(name, features):
    """Something else on every layer."""
    return features + {"a": 0.5, "b": -2.0}[name] * features.square()


def test_a_new_adapter_changes_nothing(normal):
    features = normal(2, C, 4, 6)
    assert torch.equal(DomainAdapter(C, HIDDEN).double()(features), features)


def test_it_adds_the_bottleneck_of_every_cell(adapter, normal):
    features = normal(2, C, 4, 6)
    down, up = adapter.down.weight, adapter.up.weight
    out = adapter(features)
    for n, h, w in torch.cartesian_prod(*map(torch.arange, (2, 4, 6))).tolist():
        cell = features[n, :, h, w]
        narrow = down @ cell + adapter.down.bias
        gelu = narrow * (1 + torch.erf(narrow / math.sqrt(2))) / 2  # x times the normal CDF
        assert_close(out[n, :, h, w], cell + up @ gelu + adapter.up.bias)


def test_gradients_reach_the_up_projection_at_once_and_the_down_projection_after_a_step(normal):
    adapter, features = DomainAdapter(C, HIDDEN).double(), normal(2, C, 4, 6)
    optimizer = torch.optim.SGD(adapter.parameters(), lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        (adapter(features) - 2 * features).square().mean().backward()
        assert adapter.up.weight.grad.any()
        assert bool(adapter.down.weight.grad.any()) == (step == 1)  # 0 times the zero weights
        optimizer.step()


def test_new_adapters_change_nothing(images):
    adapted = AdaptedExtractor(TwoLayers(), HIDDEN).double()
    assert torch.equal(adapted(images), adapted.extractor(images))


def test_every_layer_is_perturbed_then_adapted(adapted, images):
    net, adapters = adapted.extractor.net, adapted.adapters
    first = adapters["a"](perturb("a", net["a"](avg_pool2d(images, 2))))
    second = adapters["b"](perturb("b", net["b"](first.tanh())))
    assert_close(adapted(images, "source", perturb), second)


def test_without_adapters_nothing_but_the_perturbation_is_left(adapted, images):
    with adapted.without_adapters():
        assert torch.equal(adapted(images), adapted.extractor(images))
        expected = adapted.extractor(images, "source", perturb)
        assert torch.equal(adapted(images, "source", perturb), expected)
    assert adapted.enabled
    assert not torch.equal(adapted(images), adapted.extractor(images))


def test_adapters_are_back_after_an_error(adapted):
    with pytest.raises(RuntimeError, match=r"^stop$"), adapted.without_adapters():
        raise RuntimeError("stop")
    assert adapted.enabled


def test_clean_features_are_the_frozen_backbones_and_perturbed_ones_the_adapted(adapted, images):
    clean, perturbed = adapted.clean_and_perturbed(images, "source", perturb)
    assert torch.equal(clean, adapted.extractor(images))
    assert torch.equal(perturbed, adapted(images, "source", perturb))


def test_gradients_reach_every_adapter_and_nothing_else(adapted, images):
    clean, perturbed = adapted.clean_and_perturbed(images, "source", perturb)
    assert not clean.requires_grad
    (perturbed - clean).square().mean().backward()
    for name, parameter in adapted.named_parameters():
        assert (parameter.grad is not None) == name.startswith("adapters."), name
    assert all(parameter.grad.any() for parameter in adapted.adapters.parameters())


def test_the_seed_alone_decides_the_weights_and_the_global_generator_is_left_alone():
    extractor, before = TwoLayers(), torch.get_rng_state()
    weights = [
        AdaptedExtractor(extractor, HIDDEN, seed).adapters["a"].down.weight for seed in (7, 8)
    ]
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    again = AdaptedExtractor(extractor, HIDDEN, seed=7).adapters["a"].down.weight
    assert torch.equal(weights[0], again)
    assert not torch.equal(*weights)


@pytest.mark.parametrize("domain", ["source", "target"])
def test_features_that_are_not_finite_are_refused_with_their_number(adapted, images, domain):
    def spoil(name, features):
        features = features.clone()
        features[0, :2, 0, 0] = torch.nan if name == "b" else 0.0
        return features

    message = rf"^{domain} features: expected finite numbers, got 2 of 160 NaN or infinite\. Check "
    message += r"the backbone's weights and the precision \(trainer\.precision=32-true\)\.$"
    for call in (adapted, adapted.clean_and_perturbed):
        with adapted.without_adapters(), pytest.raises(NonFiniteError, match=message):
            call(images, domain, spoil)


def test_a_backbone_without_layers_has_no_adapters():
    assert len(AdaptedExtractor(TwoLayers(layers={})).adapters) == 0


def test_an_empty_bottleneck_is_refused():
    message = r"^adapter hidden: expected a whole number of at least 1, got 0$"
    with pytest.raises(ConfigError, match=message):
        DomainAdapter(C, 0)
