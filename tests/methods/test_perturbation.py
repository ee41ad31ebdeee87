"""Stage ``perturb``: the noise is a function of the step; the loss has a frozen target."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_backbone import small_backbone
from torch.nn.functional import mse_loss

from fsad.data.batch import ImageBatch
from fsad.errors import ConfigError, NonFiniteError
from fsad.methods.hypertrans.perturbation import DomainPerturbationModule, spread
from fsad.methods.hypertrans.settings import Perturb
from fsad.nn.adapter import AdaptedExtractor


@pytest.fixture
def module():
    made = DomainPerturbationModule(AdaptedExtractor(small_backbone(), hidden=8), Perturb(), seed=3)
    made.log = lambda *_, **__: None
    return made


@pytest.fixture
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_the_noise_depends_on_seed_and_step_alone(module):
    features = torch.randn(4, 24, 4, 4)
    np.random.default_rng(0).random(100)  # whatever was drawn before
    first = module.perturbation(7)("block1", features)
    torch.testing.assert_close(module.perturbation(7)("block1", features), first)
    assert not torch.equal(module.perturbation(8)("block1", features), first)


def test_the_noise_disturbs(module):
    features = torch.randn(4, 24, 4, 4)
    assert not torch.equal(module.perturbation(0)("block1", features), features)


def test_untrained_the_loss_is_that_of_the_bare_perturbation(module, images):
    loss = module.training_step(ImageBatch(images, torch.arange(4)))
    backbone = module.extractor.extractor
    expected = mse_loss(
        backbone(images, "source", module.perturbation(0)), backbone(images, "source")
    )
    torch.testing.assert_close(loss, expected)


def test_only_adapters_train_and_one_step_lowers_the_loss(module, images):
    batch = ImageBatch(images, torch.arange(4))
    optimizer = module.configure_optimizers()
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in module.extractor.adapters.parameters()}
    optimizer.param_groups[0]["lr"] = 1e-2
    losses = []
    for _ in range(20):  # the same noise each time: global_step stays 0 without a Trainer
        optimizer.zero_grad()
        loss = module.training_step(batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert all(p.grad is None for p in module.extractor.extractor.parameters())


@pytest.mark.parametrize(("lost", "failed"), [(0.9, False), (3.2, True)])
def test_a_stage_that_undoes_nothing_says_so_without_a_warning(
    module, images, monkeypatch, caplog, lost, failed
):
    data = SimpleNamespace(loader=lambda _: [ImageBatch(images, torch.arange(4))])
    module.trainer = SimpleNamespace(datamodule=data)
    monkeypatch.setattr(module, "_probe", lambda *_: (3.3, lost, 0.002))
    with caplog.at_level("INFO"):
        module.on_train_end()
    assert module.diagnostics["failed"] == failed
    assert {it.levelname for it in caplog.records} == {"INFO"}
    told = [it.message for it in caplog.records if "did not learn" in it.message]
    assert len(told) == failed
    for text in told:
        assert "The scores are valid" in text
        assert "docs/hypertrans.md" in text


def test_spread_is_the_error_of_the_best_constant():
    features = torch.randn(3, 5, 4, 4, dtype=torch.float64)
    constant = features.mean(dim=(0, 2, 3), keepdim=True).expand_as(features)
    torch.testing.assert_close(spread(features), mse_loss(constant, features))


def test_nan_features_stop_with_the_domain_and_the_remedy(module, images):
    module.extractor.extractor.mean.fill_(float("nan"))
    with pytest.raises(
        NonFiniteError, match=r"source features: expected finite numbers, got .*NaN"
    ):
        module.extractor(images, "source")


def test_a_backbone_without_layers_cannot_be_perturbed(module):
    module.extractor.extractor.layers = {}
    bare = AdaptedExtractor(module.extractor.extractor)
    with pytest.raises(ConfigError, match=r"backbone\.layers: expected at least one layer"):
        DomainPerturbationModule(bare, Perturb(), seed=0)
