"""Runs that an earlier revision left on disk still predict, report, are tested again and go on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from outcome import numbers

import fsad
from fsad.engine.stored import stored_config
from fsad.engine.trained import load_trained
from fsad.report import write_report
from fsad.results.record import read_result
from fsad.results.table import collect

BEFORE = Path(__file__).parent / "before"
SCORES = {  # of that revision, for a plane that rises from 0.3 to 0.5
    "patchcore": (3.6195008754730225, None, 3.6195008754730225, 2.842068672180176),
    "hypertrans": (2.5502142906188965, 2.547844648361206, 2.5537681579589844, 2.006251811981201),
}


@pytest.fixture(params=["patchcore", "hypertrans"])
def before(request, tmp_path):
    """A finished run, and its method's name."""
    return shutil.copytree(BEFORE / request.param, tmp_path / "before"), request.param


def test_its_photographs_were_made_square(before):
    folder, _ = before
    assert "resize" not in (folder / "config.yaml").read_text()
    assert stored_config(str(folder), "run").data.resize == "square"


def test_it_predicts_what_it_predicted(before):
    folder, method = before
    z = np.linspace(0.3, 0.5, 64 * 64, dtype=np.float32).reshape(64, 64)
    found = fsad.load(folder).predict(z)
    score, source, target, highest = SCORES[method]
    assert found.score == pytest.approx(score, rel=1e-4)
    assert found.score_target == pytest.approx(target, rel=1e-4)
    assert found.score_source == (source and pytest.approx(source, rel=1e-4))
    assert found.map.max() == pytest.approx(highest, rel=1e-3)


def test_it_is_tested_again_to_its_numbers(before, run, tmp_path, cache):
    folder, method = before
    words = [f"data.root={cache / 'of before'}", "data.category=tile"]
    again = run(tmp_path / "again", f"ckpt={folder}", *words, without="method.")
    ours, theirs = (read_result(it / "result.json") for it in (again, folder))
    assert ours.method == theirs.method == method
    assert ours.mean == pytest.approx(theirs.mean, abs=1e-4)
    part = "target_only"
    assert getattr(ours.categories["tile"], part) == pytest.approx(
        getattr(theirs.categories["tile"], part), abs=1e-4
    )


def test_its_report_is_written(before):
    folder, method = before
    page = write_report([folder]).read_text(encoding="utf-8")
    assert method in page
    assert collect([folder]).results[0].method == method


def test_one_that_was_interrupted_within_a_stage_goes_on_from_its_checkpoint(
    run, tmp_path, cache, caplog
):
    folder = shutil.copytree(BEFORE / "unfinished", tmp_path / "unfinished")
    caplog.set_level("INFO")
    words = [f"data.root={cache / 'of before'}", f"paths.cache_dir={cache}"]
    run(folder, f"resume={folder}", *words, without="method.")
    assert "rectify: goes on from" in caplog.text
    means = [numbers(it)[1] for it in (folder, BEFORE / "hypertrans")]
    assert means[0] == pytest.approx(means[1], abs=1e-4)
    assert load_trained(folder).combination.share("source") == 0.6
    assert json.loads((folder / "result.json").read_text())["method"] == "hypertrans"
