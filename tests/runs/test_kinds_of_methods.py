"""Kinds of methods, each whole in one class or three: the rest comes with the house."""

import csv
import json
import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, mse_loss

import fsad
from fsad.data.protocols.open_set import OpenSet
from fsad.engine.category_run import CategoryRun
from fsad.engine.plan import HoldOut, Method, Plan
from fsad.engine.scorer import Scorer
from fsad.engine.stage import FitStage
from fsad.engine.stage_module import StageModule
from fsad.engine.trained import load_trained
from fsad.errors import ConfigError, RunError
from fsad.nn.adapter import CachedExtractor
from fsad.nn.unlearnt import PixelExtractor
from fsad.results.dataset import open_dataset
from fsad.results.record import read_result
from fsad.runtime.randomness import seeded
from fsad.scores.combination import Combination
from fsad.scores.score_set import Scores


# A method that scores whole images, trained on labelled anomalies in balanced batches.
class LinearScorer(Scorer):
    def __init__(self, extractor, seed):
        super().__init__(CachedExtractor(extractor))
        with seeded(seed, "head"):
            self.head = nn.Linear(extractor.channels, 1)

    def logits(self, images):
        return self.head(self.extractor(images, "source").mean(dim=(2, 3)))[:, 0]

    def score(self, images):
        return {"seen": Scores(None, self.logits(images))}


class LinearModule(StageModule):
    def __init__(self, scorer):
        super().__init__(scorer.head, scorer.extractor.extractor)
        self.scorer = scorer

    def configure_optimizers(self):
        return torch.optim.Adam(self.network.parameters(), lr=0.1)

    def training_step(self, batch):
        return binary_cross_entropy_with_logits(self.scorer.logits(batch.image), batch.label * 1.0)


class Linear(Method):
    name = "linear"

    def __init__(self, epochs, seed):
        self.epochs, self.seed = epochs, seed

    def plan(self, extractor):
        scorer = LinearScorer(extractor, self.seed)
        reads = ("normals", "seen_anomalies")
        fit = FitStage(
            "fit", scorer.head, lambda: LinearModule(scorer), self.epochs, 1, reads, "balanced"
        )
        return Plan([fit], scorer, held_out=HoldOut.NONE)


# A method that is trained once per run, on the images of all its categories.
class DenoisingScorer(Scorer):
    def __init__(self, extractor, seed):
        super().__init__(CachedExtractor(extractor))
        with seeded(seed, "net"):
            self.net = nn.Conv2d(extractor.channels, extractor.channels, 3, padding=1)

    def score(self, images):
        features = self.extractor(images, "target")
        return {"residual": (self.net(features) - features).square().mean(dim=1)}


class DenoisingModule(StageModule):
    def __init__(self, scorer):
        super().__init__(scorer.net, scorer.extractor.extractor)
        self.scorer = scorer

    def configure_optimizers(self):
        return torch.optim.Adam(self.network.parameters(), lr=0.01)

    def training_step(self, batch):
        return self.scorer.score(batch.image)["residual"].mean()


class Denoising(Method):
    name = "denoising"

    def __init__(self, epochs, seed):
        self.epochs, self.seed = epochs, seed

    def plan(self, extractor):
        scorer = DenoisingScorer(extractor, self.seed)
        module = lambda: DenoisingModule(scorer)  # noqa: E731
        fit = FitStage("net", scorer.net, module, self.epochs, reads=("shots",), scope="run")
        return Plan([fit], scorer, held_out=HoldOut.NONE)


# A method of five stages and no backbone, with a part of the score for each.
class PyramidScorer(Scorer):
    def __init__(self, extractor, seed):
        super().__init__(CachedExtractor(extractor))
        with seeded(seed, "pyramid"):
            self.nets = nn.ModuleList(nn.Conv2d(1, 1, 3, padding=1) for _ in range(5))

    def residual(self, images, scale):
        small = interpolate(images[:, :1], size=4 * (scale + 1), mode="area")
        return self.nets[scale](small), small

    def score(self, images):
        pairs = [self.residual(images, scale) for scale in range(5)]
        maps = [(ours - true).abs()[:, 0] for ours, true in pairs]
        wide = [interpolate(each[:, None], size=20)[:, 0] for each in maps]
        return {f"scale{scale}": each for scale, each in enumerate(wide)}


class PyramidModule(StageModule):
    def __init__(self, scorer, scale):
        super().__init__(scorer.nets[scale], scorer.extractor.extractor)
        self.scorer, self.scale = scorer, scale

    def configure_optimizers(self):
        return torch.optim.Adam(self.network.parameters(), lr=0.01)

    def training_step(self, batch):
        return mse_loss(*self.scorer.residual(batch.image, self.scale))


class Pyramid(Method):
    name = "pyramid"

    def __init__(self, epochs, seed):
        self.epochs, self.seed = epochs, seed

    def build_extractor(self, image_size, backbone):  # noqa: ARG002
        return PixelExtractor(image_size)

    def plan(self, extractor):
        scorer = PyramidScorer(extractor, self.seed)

        def stage(scale):
            module = lambda: PyramidModule(scorer, scale)  # noqa: E731
            return FitStage(f"scale{scale}", scorer.nets[scale], module, self.epochs, 1, ("shots",))

        stages = [stage(scale) for scale in range(5)]
        return Plan(stages, scorer, Combination("sum"), held_out=HoldOut.NONE)


@pytest.fixture
def start(run, monkeypatch):
    """``start(folder, method, *words)``: a run of one of the methods above."""

    def start(folder, method, *words):
        module = ModuleType("some_methods")
        setattr(module, method.__name__, method)
        monkeypatch.setitem(sys.modules, "some_methods", module)
        named = f"+method={{_target_: some_methods.{method.__name__}, epochs: 20, seed: 0}}"
        chosen = () if any(word.startswith("resume=") for word in words) else ("~method", named)
        return run(folder, *chosen, *words, without="method.")

    return start


def entries(folder):
    return json.loads((folder / "result.json").read_text())["categories"]


def columns(folder):
    with (folder / "scores.csv").open() as file:
        return list(csv.DictReader(file))


OPEN_SET = ("protocol=open_set", "protocol.reserve=2", "protocol.n_anomalies=2")


def test_images_keep_no_shape_where_one_network_is_for_all_categories(start, tmp_path):
    message = (
        r"^data\.resize: expected square with a method that is trained once for all categories, "
        r"got keep: each of them has its own shape\. Choose data\.resize=square\.$"
    )
    with pytest.raises(ConfigError, match=message):
        start(tmp_path / "run", Denoising, "data.resize=keep")


def test_image_scores_learnt_from_labelled_anomalies(start, tmp_path):
    folder = start(tmp_path / "run", Linear, *OPEN_SET)
    entry = entries(folder)["tile"]
    assert entry["image_auroc"] is not None
    assert entry["pixel_auroc"] is None
    assert entry["undefined"]["pixel_auroc"] == "the method scores whole images and has no map"
    assert entry["part_mask"]["pixel_auroc"] is not None
    assert entry["parts"]["seen"]["image_auroc"] == entry["image_auroc"]
    assert entry["n_test_defect"] == 3  # of five, two are seen
    assert len(entry["anomalies"]) == 2
    assert all("/test/" in it and "/rgb/" in it for it in entry["anomalies"])
    assert not set(entry["anomalies"]) & {row["image"] for row in columns(folder)}
    assert all(row["score"] == row["score_seen"] for row in columns(folder))
    again = start(tmp_path / "again", Linear, *OPEN_SET)
    assert columns(again) == columns(folder)


def test_a_stage_of_the_run_is_trained_once_for_all_its_categories(
    start, run, tmp_path, monkeypatch
):
    fits = []
    whole = DenoisingModule.configure_optimizers
    monkeypatch.setattr(
        DenoisingModule, "configure_optimizers", lambda self: fits.append(0) or whole(self)
    )
    folder = start(tmp_path / "run", Denoising, "data.category=all")
    assert list(entries(folder)) == ["knob", "tile"]
    assert len(fits) == 1
    assert (folder / "net.safetensors").is_file()
    assert not list((folder / "categories").glob("*/net.safetensors"))
    one, other = (load_trained(folder, name).scorer.net.weight for name in ("knob", "tile"))
    assert torch.equal(one, other)
    tested = run(tmp_path / "again", f"ckpt={folder}", "data.category=all", without="method.")
    assert columns(tested) == columns(folder)
    assert len(fits) == 1


def test_five_stages_and_no_backbone(start, tmp_path):
    folder = start(tmp_path / "run", Pyramid)
    result = json.loads((folder / "result.json").read_text())
    entry = result["categories"]["tile"]
    assert result["backbone"]["name"] == "pixels"
    names = [f"scale{scale}" for scale in range(5)]
    assert all((folder / f"categories/tile/{name}.safetensors").is_file() for name in names)
    assert not (folder / "categories/tile/banks.safetensors").exists()
    assert list(entry["parts"]) == names
    assert entry["bank_rows"] == {"source": 0, "target": 0}
    for row in columns(folder):
        parts = sum(float(row[f"score_{name}"]) for name in names)
        assert float(row["score"]) == pytest.approx(parts, rel=1e-5)
    assert "scale4 only" in (folder / "table.md").read_text()


def test_a_method_of_image_scores_predicts_photographs_without_a_map(start, tmp_path):
    folder = start(tmp_path / "run", Linear, *OPEN_SET)
    model, root = fsad.load(folder), open_dataset(read_result(folder / "result.json")).root
    for row in columns(folder):
        prediction = model.predict(root / row["image"])
        assert prediction.score == pytest.approx(float(row["score"]), rel=1e-6)
        assert prediction.parts == {"seen": prediction.score}
        assert prediction.map is None
    learnt = json.loads((folder / "categories/tile/learnt.json").read_text())["images"]
    tested = {row["image"].replace("/rgb/", "/").removesuffix(".png") for row in columns(folder)}
    assert len(learnt) == 2
    assert tested.isdisjoint(learnt)


def test_a_run_of_other_seen_anomalies_is_not_gone_on_with(start, tmp_path, monkeypatch):
    def stop(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as broken:
        broken.setattr(CategoryRun, "_fit", stop)
        with pytest.raises(RuntimeError, match="killed"):
            start(tmp_path / "run", Linear, *OPEN_SET)
    # As if files had been added to the data set meanwhile
    monkeypatch.setattr(OpenSet, "_of_all_classes", lambda _, found, __: (found[-2:], found[-2:]))
    message = r"learnt\.json: expected no test image that was learnt from, got tile/test/"
    with pytest.raises(RunError, match=message):
        start(tmp_path / "run", Linear, f"resume={tmp_path / 'run'}")
