"""Stage ``rectify`` and scoring, on banks of a tiny random backbone."""

from types import SimpleNamespace

import pytest
import torch
from small_backbone import small_backbone

from fsad.errors import BankError
from fsad.methods.hypertrans.graph import BankGraph, gap_over_norm
from fsad.methods.hypertrans.rectification import HypergraphRectificationModule
from fsad.methods.hypertrans.scorer import HypergraphScorer
from fsad.methods.hypertrans.settings import Extensions, Rectify
from fsad.nn.adapter import AdaptedExtractor


def make(**changes):
    settings = {
        "alpha": 0.3,
        "knn": 4,
        "rectify": True,
        "rectify_banks": True,
        "plus": Extensions(),
    } | changes
    return HypergraphScorer(
        AdaptedExtractor(small_backbone(), hidden=8),
        Rectify(hidden=32, scale="median"),
        seed=0,
        **settings,
    ).eval()


def images(count, seed=0):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def with_banks(module):
    for bank, seed in ((module.banks["source"], 1), (module.banks["target"], 2)):
        domain = bank.domain
        views = range(module.augmentations(domain))
        seen = torch.cat([module.augment(images(6, seed), domain, view) for view in views])
        rows = module.encode(seen, domain).permute(0, 2, 3, 1).flatten(0, 2)
        bank.fill((rows - rows.mean()) / rows.std(), rows.mean(), rows.std())
    module.prepare()
    return module


@pytest.mark.parametrize("rectify", [True, False])
@torch.no_grad()
def test_an_images_score_does_not_depend_on_its_batch(rectify):
    module = with_banks(make(rectify=rectify))
    together = module.score(images(5))
    for i in range(5):
        alone = module.score(images(5)[i : i + 1])
        for domain, ours in alone.items():
            torch.testing.assert_close(ours[0], together[domain][i], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_without_rectifier_a_shots_own_patches_score_zero():
    module = with_banks(make(rectify=False))
    scores = module.score(images(6, seed=2))
    assert float(scores["target"].max()) < 1e-3


@torch.no_grad()
def test_with_turned_shots_a_shot_turned_by_a_quarter_scores_zero():
    quarter = torch.rot90(images(6, seed=2), 1, (2, 3))
    once, often = (
        with_banks(make(rectify=False, plus=Extensions(rotations=turns))).score(quarter)
        for turns in (1, 4)
    )
    assert float(once["target"].max()) > 0.1
    assert float(often["target"].max()) < 1e-3


@torch.no_grad()
def test_turned_shots_make_the_hypergraph_no_larger_and_score_zero_beside_it():
    once = with_banks(make())
    often = with_banks(make(plus=Extensions(rotations=4)))
    assert len(often.graph().target) == len(once.graph().target)
    assert len(often._target.rows) == 4 * len(once._target.rows)
    beside = ~often._members(len(often._target.rows))
    assert int(beside.sum()) == 3 * len(once.graph().target)
    every = torch.cat([torch.rot90(images(6, seed=2), -turn, (2, 3)) for turn in range(4)])
    scores = often.score(every)["target"].flatten()
    # what is no vertex passes through R as a query on both sides
    assert float(scores.sort().values[int(beside.sum()) - 1]) < 1e-3


@pytest.mark.parametrize(
    ("turns", "views"),
    [
        pytest.param([0] * 8, 1, id="parts lie alike"),
        pytest.param([0, 0, 0, 0, 0, 0, 1, 0], 4, id="one of eight lies otherwise"),
        pytest.param([0, 1, 2, 3] * 2, 4, id="parts lie as they come"),
        pytest.param([0] * 8 + [1] * 8, 4, id="the first ones alone do"),
        pytest.param([0], 1, id="one image tells nothing"),
    ],
)
@torch.no_grad()
def test_auto_turns_the_shots_where_source_images_lie_as_they_come(turns, views):
    base = images(1)[0]
    dataset = [SimpleNamespace(image=torch.rot90(base, turn, (1, 2))) for turn in turns]
    data = SimpleNamespace(loader=lambda _: SimpleNamespace(dataset=dataset))
    module = make(plus=Extensions(rotations="auto"))
    module.inspect_training_images(data)
    assert (module.augmentations("target"), module.augmentations("source")) == (views, 1)


def test_a_number_of_turns_needs_no_look():
    module = make(plus=Extensions(rotations=3))
    module.inspect_training_images(None)
    assert module.augmentations("target") == 3


@torch.no_grad()
def test_alpha_zero_scores_as_without_rectifier():
    plain, identity = with_banks(make(rectify=False)), with_banks(make(alpha=0.0))
    torch.testing.assert_close(identity.score(images(2)), plain.score(images(2)))


@torch.no_grad()
def test_raw_and_rectified_banks_are_two_options():
    through, raw = with_banks(make()), with_banks(make(rectify_banks=False))
    torch.testing.assert_close(raw._source.rows, raw.banks["source"].rows)
    assert not torch.allclose(through._source.rows, through.banks["source"].rows)


def test_empty_banks_are_refused_by_name():
    with pytest.raises(BankError, match="bank 'source': expected features, got none"):
        make().prepare()


def test_a_training_step_lowers_the_loss_and_repeats_its_dropout():
    module = HypergraphRectificationModule(with_banks(make()))
    module.log = lambda *_, **__: None
    module.on_fit_start()
    module.train()
    first = module.training_step(torch.zeros(1))
    torch.testing.assert_close(module.training_step(torch.zeros(1)), first)
    optimizer = module.configure_optimizers()
    for _ in range(20):
        optimizer.zero_grad()
        loss = module.training_step(torch.zeros(1))
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < float(first.detach())


def test_the_gap_is_free_of_shrinkage():
    source, target = torch.randn(30, 8), torch.randn(20, 8) + 2
    gap = gap_over_norm(source, target)
    assert gap_over_norm(0.1 * source, 0.1 * target) == pytest.approx(gap, rel=1e-5)
    assert gap_over_norm(source, source.clone()) == pytest.approx(0, abs=1e-6)


def test_the_scale_of_one_and_of_the_median_differ():
    source, target = torch.randn(30, 8), torch.randn(20, 8)
    assert BankGraph(source, target, 4, "one").scale == 1.0
    scaled = BankGraph(10 * source, 10 * target, 4, "median")
    plain = BankGraph(source, target, 4, "median")
    assert scaled.scale == pytest.approx(10 * plain.scale, rel=1e-5)
    torch.testing.assert_close(scaled.hypergraph.memberships, plain.hypergraph.memberships)
