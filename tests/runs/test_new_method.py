"""A method in one file: data, backbone, banks, metrics, re-test and table come with the house."""

import json
import sys
from types import ModuleType

import torch

from fsad.callbacks.bank_builder import MemoryBankBuilder
from fsad.functional.scoring import patch_scores
from fsad.nn.adapter import AdaptedExtractor
from fsad.plan import Plan
from fsad.stage_module import ScoringModule


class NearestScorer(ScoringModule):
    def score(self, images):
        features = self.target_bank.normalize(self.encode(images, "target"))
        return {
            "source": patch_scores(features, self.source_bank.rows),
            "target": patch_scores(features, self.target_bank.rows),
        }


class Nearest:
    name = "nearest"

    def __init__(self, source_ratio, seed):
        self.source_ratio, self.seed = source_ratio, seed

    def plan(self, extractor, banks_path):
        plain = AdaptedExtractor(extractor)
        plain.enabled = False
        ratios = {"source": self.source_ratio, "target": 1.0}
        return Plan([], NearestScorer(plain), MemoryBankBuilder(banks_path, ratios), beta=0.5)


def test_a_method_without_stages_runs_is_tested_again_and_tabulated(run, tmp_path, monkeypatch):
    module = ModuleType("nearest_method")
    module.Nearest = Nearest
    monkeypatch.setitem(sys.modules, "nearest_method", module)
    words = [
        "~method",
        "+method={_target_: nearest_method.Nearest, source_ratio: 0.1, seed: 0}",
    ]
    folder = run(tmp_path / "run", *words, without="method.")
    result = json.loads((folder / "result.json").read_text())
    assert result["method"] == "nearest"
    assert result["categories"]["tile"]["seconds"]["perturb"] == 0
    assert "nearest" in (folder / "table.md").read_text()
    again = run(tmp_path / "again", f"ckpt={folder}")
    assert json.loads((again / "result.json").read_text())["mean"] == result["mean"]
    assert not torch.is_inference_mode_enabled()
