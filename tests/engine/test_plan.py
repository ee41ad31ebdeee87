"""What a plan refuses before anything is trained."""

import pytest
from torch import nn

from fsad.engine.held_out_shots import _why_not
from fsad.engine.plan import HoldOut, Plan
from fsad.engine.scorer import BankScorer, Scorer
from fsad.engine.stage import BankStage, FitStage
from fsad.errors import ConfigError
from fsad.nn.adapter import CachedExtractor
from fsad.nn.unlearnt import PixelExtractor


def fit(name, **words):
    return FitStage(name, nn.Identity(), lambda: None, 1, **words)


@pytest.fixture
def features():
    return CachedExtractor(PixelExtractor(8))


@pytest.mark.parametrize("names", [("net", "net"), ("embeddings",), ("a", "patch_scores")])
def test_stages_have_names_of_their_own(features, names):
    with pytest.raises(ConfigError, match="stages: expected different names, none of patch_score"):
        Plan([fit(name) for name in names], Scorer(features))


def test_a_stage_of_the_run_follows_none_of_a_category(features):
    scorer = BankScorer(features, "target")
    banks = BankStage(scorer, {"target": 1.0})
    Plan([fit("net", scope="run"), banks], scorer)
    with pytest.raises(ConfigError, match="stages: expected those that are trained once per run f"):
        Plan([banks, fit("net", scope="run")], scorer)


def test_a_role_is_not_taken_for_several_letters():
    with pytest.raises(ConfigError, match=r"reads: expected several roles, got 'shots'\. Say \('s"):
        fit("net", reads="shots")


def test_without_a_bank_of_the_shots_none_can_be_held_out(features):
    source = BankScorer(features, "source")
    for plan in (
        Plan([], Scorer(features)),
        Plan([BankStage(source, {"source": 1.0})], source),
    ):
        assert "keeps no bank of the shots" in _why_not(plan, 5)
    unseen = Plan([], Scorer(features), held_out=HoldOut.UNSEEN)
    assert _why_not(unseen, 5) == ""
    assert _why_not(unseen, 0) == "the protocol has no shots"
    assert "a single shot" in _why_not(unseen, 1)
