"""A run killed anywhere goes on and ends as an unbroken one would have."""

import json
import re
import shutil
import subprocess
import sys
import time
from functools import wraps
from pathlib import Path

import pytest
from lightning import LightningModule
from outcome import numbers

from fsad.engine.bank_builder import MemoryBankBuilder
from fsad.methods.hypertrans.perturbation import DomainPerturbationModule
from fsad.methods.hypertrans.rectification import HypergraphRectificationModule
from fsad.methods.hypertrans.scorer import HypergraphScorer

ROOT = Path(__file__).parents[2]


class Killed(BaseException):
    """Not an Exception, so that nothing on the way handles it."""


def kill_at(monkeypatch, owner, hook, when):
    """Make ``hook`` of ``owner`` raise once ``when(self)`` is true."""
    original = getattr(owner, hook)

    @wraps(original)  # Lightning reads the signature
    def dying(self, *args, **kwargs):
        if when(self):
            raise Killed
        return original(self, *args, **kwargs)

    monkeypatch.setattr(owner, hook, dying)


def at_step(step):
    return lambda module: isinstance(module, LightningModule) and module.global_step == step


@pytest.mark.parametrize(
    ("owner", "hook", "when"),
    [
        pytest.param(DomainPerturbationModule, "training_step", at_step(3), id="inside perturb"),
        pytest.param(MemoryBankBuilder, "on_fit_start", lambda _: True, id="before the banks"),
        pytest.param(HypergraphRectificationModule, "training_step", at_step(0), id="after banks"),
        pytest.param(
            HypergraphRectificationModule, "training_step", at_step(11), id="inside rectify"
        ),
        pytest.param(HypergraphScorer, "score", lambda _: True, id="in the test"),
    ],
)
def test_a_killed_run_resumes_to_the_same_result(
    finished, run, tmp_path, monkeypatch, owner, hook, when
):
    with monkeypatch.context() as patch:
        kill_at(patch, owner, hook, when)
        with pytest.raises(Killed):
            run(tmp_path)
    assert not (tmp_path / "result.json").exists()
    assert numbers(run(tmp_path, f"resume={tmp_path}")) == numbers(finished)
    seconds = json.loads((tmp_path / "result.json").read_text())["categories"]["tile"]["seconds"]
    assert all(value > 0 for value in seconds.values())


def threshold_of(folder):
    entry = json.loads((folder / "result.json").read_text())["categories"]["tile"]
    return entry["threshold"]


def test_a_run_killed_while_its_threshold_is_set_is_not_finished_and_sets_it(
    finished, run, tmp_path, monkeypatch
):
    def dying(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("fsad.engine.category_run.set_threshold", dying)
        with pytest.raises(Killed):
            run(tmp_path)
    assert not (tmp_path / "categories/tile/category.json").exists()
    assert (tmp_path / "categories/tile/scores.csv").exists()
    run(tmp_path, f"resume={tmp_path}")
    assert numbers(tmp_path) == numbers(finished)
    assert threshold_of(tmp_path) == threshold_of(finished)
    assert threshold_of(tmp_path)["image"] > 0


def without_threshold(folder):
    """As an earlier version left it, killed while the threshold was set."""
    path = folder / "categories/tile/category.json"
    record = json.loads(path.read_text()) | {"threshold": None}
    del record["digest"], record["scores_digest"]
    path.write_text(json.dumps(record))
    (folder / "categories/tile/threshold.json").unlink()


@pytest.mark.parametrize(
    ("lose", "what"),
    [
        (without_threshold, "threshold"),
        (lambda it: (it / "categories/tile/threshold.json").unlink(), "threshold.json"),
        (lambda it: (it / "categories/tile/scores.csv").unlink(), "scores.csv"),
        (lambda it: shutil.rmtree(it / "maps"), "picture in .*maps/tile"),
    ],
)
def test_a_record_without_what_was_asked_for_is_not_finished(
    finished, run, tmp_path, caplog, lose, what
):
    folder = shutil.copytree(finished, tmp_path / "run")
    lose(folder)
    caplog.set_level("INFO")
    run(folder, f"resume={folder}")
    assert re.search(rf"tile: not finished \(no {what}\); continuing", caplog.text)
    assert numbers(folder) == numbers(finished)
    left, right = (sorted(it.rglob("*")) for it in (folder, finished))
    again = {"version_1"}  # the logger's own
    known = {path.relative_to(finished) for path in right}
    assert {
        it for it in (path.relative_to(folder) for path in left) if not again & set(it.parts)
    } == known


def test_a_finished_record_is_taken_as_it_is(finished, run, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr(
        "fsad.engine.category_run.CategoryRun._score", lambda *_: pytest.fail("tested")
    )
    run(folder, f"resume={folder}")
    assert numbers(folder) == numbers(finished)


@pytest.mark.slow
def test_a_run_killed_by_the_system_resumes_to_the_same_result(cache, small, run, tmp_path):
    longer = "method.rectify.epochs=200"  # long enough to be caught in the middle
    command = [sys.executable, str(ROOT / "train.py"), f"paths.cache_dir={cache}", *small, longer]
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [*command, f"paths.output_dir={folder}"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    waited_for = folder / "categories/tile/rectify.ckpt"  # inside stage rectify
    for _ in range(15_000):  # five minutes, on a machine that does much else
        if waited_for.exists() or process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (folder / "result.json").exists()
    assert (folder / "categories/tile/banks.safetensors").exists()
    run(folder, f"resume={folder}")
    assert numbers(folder) == numbers(run(tmp_path / "unbroken", longer))
    assert (folder / "logs/version_1/metrics.csv").exists()
    config = json.loads((folder / "result.json").read_text())["config"]
    assert config["paths"]["output_dir"] == str(folder)
    assert config["resume"] is None
