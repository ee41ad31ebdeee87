"""Every baseline as a whole run, and the laws that tie them to each other."""

import csv
import json
import re
import shutil

import pytest

from fsad.engine.trained import load_trained
from fsad.errors import ConfigError
from fsad.metrics import METRICS
from fsad.scores.threshold import read_threshold

ONLY = {
    "patchcore": "target",
    "source_bank": "source",
    "padim": "target",
    "sift": "target",
    "raw": "target",
    "part_mask": "target",
    "anomalydino": "target",
    "depth_inet": "target",
    "ast": "target",
}
MORE = {
    "ast": (
        "method.teacher.epochs=8",
        "method.student.epochs=8",
        "method.student.hidden=8",
        "method.student.blocks=1",
    ),
    "depth_inet": ("method.timm_name=resnet18", "method.pretrained=false"),
    "anomalydino": ("method.rotations=2", "method.threshold=0.1"),
}


@pytest.fixture(scope="module")
def runs(run, tmp_path_factory):
    """One run of each method, on the same pairs."""
    folder = tmp_path_factory.mktemp("baselines")
    return {
        name: run(
            folder / name, f"method={name}", "maps=true", *MORE.get(name, ()), without="method."
        )
        for name in ONLY
    }


def rows_of(folder):
    return list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("name", ONLY)
def test_a_method_of_one_domain_has_that_domains_score_for_its_own(runs, name):
    result = result_of(runs[name])
    assert result["method"] == name
    entry = result["categories"]["tile"]
    own, other = ONLY[name], {"source": "target", "target": "source"}[ONLY[name]]
    assert entry[f"{own}_only"] == {metric: entry[metric] for metric in METRICS}
    assert entry[f"{other}_only"] == {}
    assert entry["source_share"] is None
    assert entry["bank_rows"][other] == 0
    rows = rows_of(runs[name])
    assert all(row["score"] == row[f"score_{own}"] and not row[f"score_{other}"] for row in rows)
    table = (runs[name] / "table.md").read_text()
    assert "only" not in table  # the same numbers twice
    assert len(list((runs[name] / "maps" / "tile").glob("*.png"))) == len(rows)


def test_patchcore_is_hypertrans_with_every_stage_off(run, runs, tmp_path):
    off = [f"method.stages.{name}=false" for name in ("perturb", "rectify", "cross_domain")]
    bare = result_of(run(tmp_path, *off, "maps=false"))["categories"]["tile"]
    entry = result_of(runs["patchcore"])["categories"]["tile"]
    assert {metric: entry[metric] for metric in METRICS} == bare["target_only"]
    assert entry["shots"] == bare["shots"]


def test_the_part_mask_scores_what_every_table_has_as_its_control(runs):
    entries = {name: result_of(runs[name])["categories"]["tile"] for name in ONLY}
    control = entries["padim"]["part_mask"]
    mask = {metric: entries["part_mask"][metric] for metric in METRICS}
    assert mask == pytest.approx(control, abs=1e-6)


def test_ast_learns_from_a_single_shot_and_goes_on_where_it_was_stopped(run, tmp_path):
    words = ("method=ast", *MORE["ast"], "data.shots=1", "maps=false")
    folder = run(tmp_path / "whole", *words, without="method.")
    losses = list(csv.DictReader((folder / "logs/version_0/metrics.csv").read_text().splitlines()))
    for stage in ("teacher", "student"):
        values = [float(row[f"{stage}/loss"]) for row in losses if row.get(f"{stage}/loss")]
        assert values[-1] < values[0]
    stopped = shutil.copytree(folder, tmp_path / "stopped")
    for file in ("category.json", "patch_scores.safetensors", "student.safetensors"):
        (stopped / "categories" / "tile" / file).unlink()
    again = run(stopped, f"resume={stopped}")
    assert result_of(again)["mean"] == result_of(folder)["mean"]


@pytest.mark.parametrize("name", ["raw", "sift", "part_mask"])
def test_what_needs_no_backbone_builds_none_and_says_so(run, tmp_path, name):
    folder = run(
        tmp_path, f"method={name}", "backbone.pretrained=true", "backbone.weights_path=none.st",
        without="method.",
    )  # fmt: skip
    backbone = result_of(folder)["backbone"]
    assert backbone["weights"] == "none needed"
    assert "tiny" not in (folder / "table.md").read_text()


def test_a_method_of_one_domain_is_tested_again_without_training(run, runs, tmp_path):
    again = run(tmp_path, f"ckpt={runs['padim']}", "maps=false")
    assert result_of(again)["mean"] == result_of(runs["padim"])["mean"]


def test_a_setting_that_the_tested_runs_method_lacks_is_refused(run, runs, tmp_path):
    message = r"ckpt: expected one of method.window, method.shrinkage.*, got method.beta=0.3"
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, f"ckpt={runs['padim']}", "method.beta=0.3")


def test_reweighting_changes_image_scores_alone(run, runs, tmp_path):
    other = run(tmp_path, "method=patchcore", "method.reweight=3", "maps=false", without="method.")
    ours, theirs = (result_of(it)["categories"]["tile"] for it in (other, runs["patchcore"]))
    assert ours["pixel_auroc"] == theirs["pixel_auroc"]
    scores = [[row["score"] for row in rows_of(it)] for it in (other, runs["patchcore"])]
    assert scores[0] != scores[1]


def test_beyond_the_paper_a_run_calls_itself_so_and_can_be_tested_again(finished, run, tmp_path):
    words = ("method=hypertrans_plus", "maps=false")
    folder = run(tmp_path / "run", *words, "method.plus.rotations=1")
    result = result_of(folder)
    assert result["method"] == "hypertrans_plus"
    again = result_of(run(tmp_path / "again", f"ckpt={folder}", "method.beta=0.6"))
    assert again["mean"] == result["mean"]
    turned = result_of(run(tmp_path / "turned", *words, "method.plus.rotations=4"))
    rows = [each["categories"]["tile"]["bank_rows"]["target"] for each in (result, turned)]
    assert rows[1] == 4 * rows[0]
    plain = result_of(finished)
    assert plain["method"] == "hypertrans"
    assert plain["mean"] != result["mean"]


def test_what_auto_chose_stays_with_the_banks_and_gives_the_numbers_of_that_many_turns(
    run, tmp_path, caplog
):
    words = ("method=hypertrans_plus", "method.stages.rectify=true", "maps=false")
    with caplog.at_level("INFO", logger="fsad"):
        chosen = run(tmp_path / "chosen", *words)
    views = load_trained(chosen).scorer.augmentations("target")
    assert f"rotations: {views} (same orientation: " in caplog.text
    told = run(tmp_path / "told", *words, f"method.plus.rotations={views}")
    for ours, theirs in zip(rows_of(chosen), rows_of(told), strict=True):
        assert ours == theirs
    one, other = (read_threshold(it / "categories/tile/threshold.json") for it in (chosen, told))
    assert one.held_out == other.held_out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [
                "method=hypertrans_plus",
                "method.stages.rectify=true",
                "method.rectify_banks=false",
            ],
            r"method\.rectify_banks: expected true with method\.plus, got false",
        ),
        (
            ["method=padim", "method.window=1", "data.shots=1"],
            r"method\.window: expected 3 or more with a single shot",
        ),
        (["method=padim", "method.window=2"], r"method\.window: expected an odd number.*got 2"),
        (
            ["method=depth_inet", "method.weights_path=none.st"],
            r"weights 'none\.st': expected a file.*Correct method\.weights_path",
        ),
        (["method=patchcore", "method.reweight=1"], r"method\.reweight: expected .*at least 2"),
        (["method=sift", "method.ratio=0"], r"method\.ratio: expected"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(command, small, words, message):
    plain = tuple(word for word in small if not word.startswith("method."))
    code, said = command(*words, small=plain)
    assert code != 0
    assert re.search(message, said)
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["anomalydino", "part_mask"])
def test_two_processes_yield_what_one_does(run, runs, tmp_path, name):
    two = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")
    shared = run(
        tmp_path, f"method={name}", "maps=false", *MORE.get(name, ()), *two, without="method."
    )
    assert result_of(shared)["mean"] == pytest.approx(result_of(runs[name])["mean"], abs=1e-6)


def test_the_default_backbone_runs_with_its_stem(run, tmp_path):
    result = result_of(run(tmp_path, "method=patchcore", without=("method.", "backbone.")))
    assert result["backbone"]["weights"] == "shipped"
    assert result["mean"]["pixel_auroc"] > 0.7
