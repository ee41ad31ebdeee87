"""DRA: which head learns what, and scores that are an image's own."""

import re

import numpy as np
import pytest
import torch
from small_backbone import small_backbone

from fsad.errors import ConfigError
from fsad.functional.deviation import deviation_losses
from fsad.methods.dra import Dra
from fsad.methods.shared.open_set.fit import DeviationModule, with_pseudo_anomalies
from fsad.methods.shared.open_set.losses import heads_loss
from fsad.nn.anomaly_heads import HeadScores

FIT = {"epochs": 1, "steps": 1, "normals": 2, "anomalies": 2}


def images(count, seed=0):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def scorer_of(method):
    scorer = method.plan(small_backbone()).scorer.eval()
    scorer.network.keep_reference(images(3, seed=9))
    return scorer


@pytest.mark.parametrize("trunk", ["trained", "frozen"])
@torch.no_grad()
def test_an_images_scores_do_not_depend_on_the_images_beside_it(trunk):
    scorer = scorer_of(Dra(FIT, trunk=trunk))
    together = scorer.score(images(4))
    for row in range(4):
        for name, alone in scorer.score(images(4)[row : row + 1]).items():
            assert torch.equal(alone.images[0], together[name].images[row])
            if alone.patches is not None:
                assert torch.equal(alone.patches[0], together[name].patches[row])


@pytest.mark.parametrize("trunk", ["trained", "frozen"])
def test_batch_norm_follows_the_batches_of_a_trunk_that_trains(trunk):
    method = Dra(FIT, trunk=trunk)
    scorer = scorer_of(method)
    module = DeviationModule(scorer, method.fit, method.loss, method.references, method.seed)
    module.on_train_start()
    body = scorer.network.trunk.body
    assert scorer.network.heads.training
    assert (body is not None and body.net.training) == (trunk == "trained")
    assert body is None or all(part.training for part in body.net.modules())
    assert not scorer.extractor.extractor.training


@torch.no_grad()
def test_the_parts_are_reported_apart_and_their_sum_is_the_score():
    method = Dra(FIT)
    plan = method.plan(small_backbone())
    scores = scorer_of(method).score(images(2))
    assert list(scores) == ["seen", "pseudo", "residual", "normality"]
    assert [each.patches is None for each in scores.values()] == [False, False, False, True]
    total = plan.combination.combine({name: each.images for name, each in scores.items()})
    torch.testing.assert_close(total, sum(each.images for each in scores.values()))


def test_each_head_learns_from_the_kinds_that_are_its_own():
    kinds = torch.tensor([0, 1, 2])
    scores = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    said = {"seen": 0, "pseudo": 1, "residual": 2, "normality": 3}
    said = {name: HeadScores(scores + shift, None) for name, shift in said.items()}

    def mean(name, rows, wanted):
        values = said[name].images[rows]
        return deviation_losses(values, torch.tensor(wanted)).mean()

    expected = (
        mean("seen", [0, 1], [False, True])
        + mean("pseudo", [0, 2], [False, True])
        + mean("residual", [0, 1, 2], [False, True, True])
        + mean("normality", [0, 1, 2], [True, False, False])
    )
    torch.testing.assert_close(heads_loss(said, kinds, 5.0), expected)


def test_pseudo_anomalies_are_made_of_normal_images_alone():
    kinds = torch.tensor([0, 1] * 20)
    made, found = with_pseudo_anomalies(images(40), kinds, np.random.default_rng(0))
    changed = (made != images(40)).flatten(1).any(dim=1)
    assert torch.equal(changed, found == 2)
    assert not changed[kinds == 1].any()
    assert 5 <= int(changed.sum()) <= 15
    assert torch.equal(kinds, torch.tensor([0, 1] * 20))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trunk": "thawed"}, "method.trunk: expected one of trained, frozen, got 'thawed'"),
        ({"scales": 0}, "method.scales: expected a whole number of at least 1, got 0"),
        ({"references": 0}, "method.references: expected a whole number of at least 1, got 0"),
        ({"margin": 0.0}, "method.margin: expected a number above 0, got 0.0"),
        ({"prior": -1}, "method.prior: expected a whole number of at least 0, got -1"),
        ({"prior": 1}, "method.prior: expected a whole number of at least 2, got 1"),
        ({"sigma": -1.0}, "method.sigma: expected a number of at least 0, got -1.0"),
        ({"fit": {**FIT, "steps": 0}}, "method.fit.steps: expected a whole number of at least 1"),
        ({"fit": {**FIT, "lr": 0.0}}, "method.fit.lr: expected a number above 0, got 0.0"),
        ({"fit": {**FIT, "rotate": 1}}, "method.fit.rotate: expected true or false, got 1"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        Dra(**{"fit": FIT, **settings})
