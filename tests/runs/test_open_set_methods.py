"""Whole runs of the methods that learn from labelled anomalies, on tiny generated photographs."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from outcome import numbers
from test_resume import Killed, at_step, kill_at
from typer.testing import CliRunner

import fsad
from fsad.cli import app
from fsad.errors import ConfigError
from fsad.methods.ahl.outer import OuterModule
from fsad.methods.shared.open_set.fit import DeviationModule
from fsad.results.dataset import open_dataset
from fsad.results.record import read_result

FIT = (
    "method.fit.epochs=2",
    "method.fit.steps=2",
    "method.fit.normals=3",
    "method.fit.anomalies=2",
)
PROTOCOL = ("protocol.reserve=2", "protocol.n_anomalies=2")
OUTER = (
    "method.outer.epochs=8",
    "method.outer.drop_every=3",
    "method.outer.inner_steps=2",
    "method.outer.normals=2",
    "method.outer.pseudo=2",
    "method.outer.anomalies=2",
)
FOUR = ["normality", "pseudo", "residual", "seen"]
PARTS = {"devnet": ["seen"], "dra": FOUR, "ahl": FOUR}


@pytest.fixture(scope="module")
def start(run):
    """``start(folder, method, *words)``: a run of one of the methods."""

    def start(folder, method, *words):
        outer = OUTER if method == "ahl" else ()
        chosen = (f"method={method}", "backbone=tiny", *PROTOCOL, *FIT, *outer)
        return run(folder, *chosen, *words, without="method.")

    return start


@pytest.fixture(scope="module")
def ended(start, tmp_path_factory):
    """A finished run of each method, made when it is asked for."""
    known = {}

    def ended(method):
        if method not in known:
            folder = tmp_path_factory.mktemp(method)
            known[method] = start(folder, method, "report=true")
        return known[method]

    return ended


def entry_of(folder):
    return json.loads((folder / "result.json").read_text())["categories"]["tile"]


def rows_of(folder):
    with (folder / "scores.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", PARTS)
def test_images_keep_no_shape_with_a_method_that_learns_from_squares(start, tmp_path, method):
    name = re.escape({"ahl": "ahl(dra)"}.get(method, method))
    message = (
        rf"^data\.resize: expected square with method {name}, which learns from squares alone, "
        r"got keep\. Choose data\.resize=square, or another method\.$"
    )
    with pytest.raises(ConfigError, match=message):
        start(tmp_path / "run", method, "data.resize=keep")


@pytest.mark.parametrize("method", PARTS)
def test_the_parts_the_maps_and_the_anomalies_are_reported(ended, method):
    folder = ended(method)
    entry = entry_of(folder)
    assert list(entry["parts"]) == PARTS[method]
    assert entry["pixel_auroc"] is not None
    assert "undefined" not in entry
    for row in rows_of(folder):
        parts = [float(row[f"score_{name}"]) for name in PARTS[method]]
        assert float(row["score"]) == pytest.approx(sum(parts), rel=1e-4, abs=1e-5)
    assert len(entry["anomalies"]) == 2
    assert not {row["image"] for row in rows_of(folder)} & set(entry["anomalies"])
    page = (folder / "report.html").read_text()
    assert "Anomalies that were learnt from" in page
    assert all(f'alt="{file}"' in page for file in entry["anomalies"])
    assert len(list((folder / "maps/tile").glob("*.png"))) == len(rows_of(folder))


@pytest.mark.parametrize("method", ["devnet", "ahl"])
def test_a_run_predicts_and_exports_what_it_scored(ended, tmp_path, method):
    folder = ended(method)
    exported = tmp_path / "model.onnx"
    done = CliRunner().invoke(app, ["export", str(folder), "-o", str(exported)])
    assert done.exit_code == 0, done.output
    model, file = fsad.load(folder), fsad.load(exported)
    root = open_dataset(read_result(folder / "result.json")).root
    for row in rows_of(folder)[:2]:
        ours, theirs = (it.predict(root / row["image"]) for it in (model, file))
        assert ours.score == pytest.approx(float(row["score"]), rel=1e-5, abs=1e-6)
        assert theirs.score == pytest.approx(ours.score, rel=1e-3, abs=1e-4)
        assert set(theirs.parts) == set(PARTS[method])
        assert ours.map is not None
        if method == "devnet":  # a graph holds no gradient
            assert theirs.map is None
        else:
            np.testing.assert_allclose(theirs.map, ours.map, atol=1e-3)


def at_epoch(epoch):
    return lambda module: getattr(module, "current_epoch", None) == epoch


@pytest.mark.parametrize(
    ("method", "owner", "hook", "when", "left"),
    [
        ("dra", DeviationModule, "training_step", at_step(3), "fit.ckpt"),
        ("ahl", OuterModule, "loss_of", at_epoch(3), "outer.ckpt"),  # in the inner steps
        ("ahl", OuterModule, "_judge", at_epoch(7), "outer.ckpt"),  # where tasks are weighted
    ],
)
def test_a_killed_run_ends_as_an_unbroken_one(
    ended, start, run, tmp_path, monkeypatch, method, owner, hook, when, left
):
    with monkeypatch.context() as patch:
        kill_at(patch, owner, hook, when)
        with pytest.raises(Killed):
            start(tmp_path, method, "report=true")
    assert (tmp_path / f"categories/tile/{left}").exists()
    assert numbers(run(tmp_path, f"resume={tmp_path}")) == numbers(ended(method))


@pytest.mark.parametrize("base", ["dra", "devnet"])
def test_what_the_base_method_trained_is_taken_up(start, tmp_path, base):
    cache = f"paths.cache_dir={tmp_path / 'cache'}"
    words = ("cache.max_gb=1", cache, "maps=false")
    start(tmp_path / "begin", base, *words)
    ours = start(tmp_path / "shared", "ahl", f"method.base={base}", *words)
    alone = start(tmp_path / "alone", "ahl", f"method.base={base}", "maps=false", "cache=none")
    assert entry_of(ours)["reused"] == ["fit"]
    assert entry_of(alone)["reused"] == []
    assert rows_of(ours) == rows_of(alone)


def test_so_many_epochs_are_so_many_outer_steps(start, tmp_path, monkeypatch):
    steps, whole = [], torch.optim.Adam.step

    def counted(self, *args, **more):
        steps.append(0)
        return whole(self, *args, **more)

    monkeypatch.setattr(torch.optim.Adam, "step", counted)
    words = ("method.base=devnet", "method.importance=uniform", "method.outer.epochs=3")
    folder = start(tmp_path, "ahl", *words, "maps=false")
    assert len(steps) == 2 * 2 + 3  # of the base model, and one for each outer epoch
    assert json.loads((folder / "result.json").read_text())["method"] == "ahl(devnet)"


def test_a_frozen_trunk_is_said_in_every_table(start, tmp_path):
    folder = start(tmp_path, "devnet", "method.trunk=frozen")
    assert json.loads((folder / "result.json").read_text())["method"] == "devnet (frozen trunk)"
    assert "devnet (frozen trunk)" in (folder / "table.md").read_text()
    assert fsad.load(folder).predict(np.zeros((64, 64, 3), np.uint8)).score >= 0


def test_a_method_without_labels_is_tested_on_the_same_images(ended, run, tmp_path):
    words = ("method=patchcore", "protocol=open_set", *PROTOCOL, "protocol.labels=false")
    folder = run(tmp_path, *words, "maps=false", without="method.")
    ours, theirs = (entry_of(it) for it in (folder, ended("devnet")))
    assert ours["test_digest"] == theirs["test_digest"]
    assert len(ours["shots"]) == 4  # all normal images
    assert "anomalies" not in ours
    found = fsad.compare(fsad.collect([folder, ended("devnet")]), reference="patchcore")
    image = next(each for each in found.differences if each.metric == "image_auroc")
    assert image.labels["method"] == "devnet"
    assert image.mean == pytest.approx(theirs["image_auroc"] - ours["image_auroc"])
