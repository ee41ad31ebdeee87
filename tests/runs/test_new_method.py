"""A method in one file: data, backbone, banks, metrics, re-test and table come with the house."""

import json
import sys
from types import ModuleType

import pytest
import torch

from fsad.engine.plan import Method, Plan
from fsad.engine.scorer import BankScorer
from fsad.engine.stage import BankStage
from fsad.engine.trained import load_trained
from fsad.functional.scoring import patch_scores
from fsad.nn.adapter import CachedExtractor
from fsad.report.scores import read_scores
from fsad.results.record import read_category, read_result
from fsad.scores.combination import two_domains

BETA, SIGMA = 0.5, 2.5  # fixed, and no settings


class NearestScorer(BankScorer):
    def score(self, images):
        features = self.banks["target"].normalize(self.encode(images, "target"))
        return {
            "source": patch_scores(features, self.banks["source"].rows),
            "target": patch_scores(features, self.banks["target"].rows),
        }


class Nearest(Method):
    name = "nearest"

    def __init__(self, source_ratio, seed):
        self.source_ratio, self.seed = source_ratio, seed

    def plan(self, extractor):
        scorer = NearestScorer(CachedExtractor(extractor), "source", "target")
        banks = BankStage(scorer, {"source": self.source_ratio, "target": 1.0})
        return Plan([banks], scorer, two_domains(BETA), SIGMA)


@pytest.fixture
def folder(run, tmp_path, monkeypatch):
    """A finished run of the method."""
    module = ModuleType("nearest_method")
    module.Nearest = Nearest
    monkeypatch.setitem(sys.modules, "nearest_method", module)
    words = [
        "~method",
        "+method={_target_: nearest_method.Nearest, source_ratio: 0.1, seed: 0}",
    ]
    return run(tmp_path / "run", *words, without="method.")


def test_a_method_without_stages_runs_is_tested_again_and_tabulated(run, folder, tmp_path):
    result = json.loads((folder / "result.json").read_text())
    assert result["method"] == "nearest"
    assert result["categories"]["tile"]["seconds"]["perturb"] == 0
    assert "nearest" in (folder / "table.md").read_text()
    again = run(tmp_path / "again", f"ckpt={folder}")
    assert json.loads((again / "result.json").read_text())["mean"] == result["mean"]
    assert not torch.is_inference_mode_enabled()


def test_report_and_prediction_learn_a_fixed_beta_and_sigma_from_the_run(folder, monkeypatch):
    record = read_category(folder / "categories/tile")
    assert (record["beta"], record["sigma"]) == (BETA, SIGMA)
    result = read_result(folder / "result.json")
    drawn = read_scores(result, "tile")
    assert (drawn.mix, drawn.sigma) == (("source", "target", BETA), SIGMA)
    monkeypatch.setitem(globals(), "SIGMA", 3.5)  # the code went on, the run stays as it was
    assert load_trained(folder).sigma == 2.5
    entry = json.loads((folder / "result.json").read_text())["categories"]["tile"]
    own = {"beta", "sigma", "combination", "scores_digest", "digest"}
    assert record.keys() - entry.keys() == own  # a result stays as agreed


def test_of_a_run_without_that_record_the_plan_is_asked(folder):
    path = folder / "categories/tile/category.json"
    record = json.loads(path.read_text())
    del record["combination"], record["beta"], record["sigma"], record["digest"]
    path.write_text(json.dumps(record))
    assert load_trained(folder).combination == two_domains(BETA)
    assert load_trained(folder).sigma == SIGMA
