"""One run end to end: what it leaves, and that it leaves the same twice."""

import csv
import json
import shutil

import pytest
import torch
import yaml
from outcome import numbers
from safetensors.torch import load_file

from fsad.errors import ConfigError, NonFiniteError, RunError

FIVE = ("image_auroc", "pixel_auroc", "pixel_auroc_part", "aupro30", "aupro05")


def test_result_json_keeps_the_contract(finished):
    result = json.loads((finished / "result.json").read_text())
    assert result["schema"] == 1
    assert result["method"] == "hypertrans"
    assert result["seed"] == 0
    assert result["config"]["method"]["alpha"] == 0.3
    assert set(result["mean"]) == set(FIVE)
    entry = result["categories"]["tile"]
    assert len(entry["shots"]) == 2
    assert all(shot.startswith("tile/train/good/xyz/") for shot in entry["shots"])
    assert (entry["n_source"], entry["n_test_good"], entry["n_test_defect"]) == (4, 2, 4)
    for scored in (entry, *(entry[name] for name in ("source_only", "target_only", "part_mask"))):
        assert all(0 <= scored[metric] <= 1 for metric in FIVE)
    assert entry["bank_rows"] == {"source": int(0.1 * 4 * 64), "target": 2 * 64}
    assert set(entry["seconds"]) == {"perturb", "banks", "rectify", "test", "metrics"}
    assert all(seconds > 0 for seconds in entry["seconds"].values())
    assert entry["backbone_seconds"] > 0
    assert entry["peak_rss_mb"] > 0
    assert 0 < entry["source_share"] < 1


def test_logs_and_result_say_what_each_stage_did(finished):
    entry = json.loads((finished / "result.json").read_text())["categories"]["tile"]
    perturb, rectify = entry["diagnostics"]["perturb"], entry["diagnostics"]["rectify"]
    assert perturb["loss_over_variance"] < perturb["loss_over_variance_untrained"]
    assert perturb["clean_drift"] > 0
    assert perturb["failed"] == (perturb["loss_over_variance"] > 1)
    assert {"gap_over_norm_before", "gap_over_norm_after", "norm_ratio"} == set(rectify)
    with (finished / "logs/version_0/metrics.csv").open() as file:
        logged = set(next(csv.reader(file)))
    assert {
        "perturb/loss",
        "perturb/loss_over_variance",
        "perturb/clean_drift",
        "rectify/loss",
        "rectify/gap_over_norm_after",
        "test/image_auroc",
        "test/source_share",
    } <= logged


def test_scores_csv_has_one_row_per_test_image_and_fuses_by_beta(finished):
    with (finished / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert sum(int(row["label"]) for row in rows) == 4
    for row in rows:
        fused = 0.6 * float(row["score_source"]) + 0.4 * float(row["score_target"])
        assert float(row["score"]) == pytest.approx(fused, rel=1e-6)


def test_every_test_image_has_a_picture_and_patch_scores(finished):
    assert len(list((finished / "maps/tile").glob("*.png"))) == 6
    patches = load_file(finished / "categories/tile/patch_scores.safetensors")
    assert patches["source"].shape == patches["target"].shape == (6, 8, 8)


def test_random_weights_are_named_in_result_and_table(finished):
    result = json.loads((finished / "result.json").read_text())
    assert result["backbone"]["weights"] == "random weights"
    rows = [line for line in (finished / "table.md").read_text().splitlines() if "tile" in line]
    assert rows
    assert all("random weights" in row for row in rows)


def test_checkpoints_hold_no_backbone_but_its_hash(finished):
    stage = finished / "categories/tile/perturb.safetensors"
    assert all(name.startswith("block") for name in load_file(stage))
    assert stage.stat().st_size < 100_000
    assert not list((finished / "categories/tile").glob("*.ckpt"))


def test_the_same_seed_gives_the_same_numbers(finished, run, tmp_path):
    assert numbers(run(tmp_path)) == numbers(finished)


def test_another_seed_draws_other_shots(finished, run, tmp_path):
    other = run(tmp_path, "seed=2", "method.stages.perturb=false", "method.stages.rectify=false")
    assert numbers(other)[0]["tile"]["shots"] != numbers(finished)[0]["tile"]["shots"]


def test_stages_off_is_a_plain_target_bank(run, tmp_path):
    folder = run(
        tmp_path,
        "method.stages={perturb:false,rectify:false,cross_domain:false}",
    )
    entry = numbers(folder)[0]["tile"]
    assert {metric: entry[metric] for metric in FIVE} == entry["target_only"]
    assert entry["source_share"] == 0
    assert entry["diagnostics"] == {}


def test_ckpt_tests_again_without_training(finished, run, tmp_path, monkeypatch):
    from lightning import Trainer

    monkeypatch.setattr(Trainer, "fit", lambda *_, **__: pytest.fail("a stage was trained"))
    again = run(tmp_path, f"ckpt={finished}")
    assert numbers(again) == numbers(finished)


def test_ckpt_with_another_beta_changes_the_fused_score_alone(finished, run, tmp_path):
    again = run(tmp_path, f"ckpt={finished}", "method.beta=0.0")
    ours, theirs = (numbers(folder)[0]["tile"] for folder in (again, finished))
    assert {metric: ours[metric] for metric in FIVE} == theirs["target_only"]
    assert ours["source_only"] == theirs["source_only"]


def test_ckpt_refuses_what_would_need_training(finished, run, tmp_path):
    with pytest.raises(ConfigError, match=r"ckpt: expected one of method.beta.*got data.shots=1"):
        run(tmp_path, f"ckpt={finished}", "data.shots=1")


def test_ckpt_and_resume_exclude_each_other(finished, run, tmp_path):
    with pytest.raises(RunError, match="ckpt, resume: expected one of them, got both"):
        run(tmp_path, f"ckpt={finished}", f"resume={finished}")


def test_all_categories_run_and_the_mean_is_theirs(run, tmp_path):
    folder = run(tmp_path, "data.category=all", "method.perturb.epochs=1", "maps=false")
    categories, mean = numbers(folder)
    assert list(categories) == ["knob", "tile"]
    for metric in FIVE:
        average = sum(entry[metric] for entry in categories.values()) / 2
        assert mean[metric] == pytest.approx(average)
    assert yaml.safe_load((folder / "config.yaml").read_text())["data"]["category"] == "all"


def test_features_that_blow_up_stop_the_run_and_keep_what_is_there(run, tmp_path):
    with pytest.raises(NonFiniteError, match="source features: expected finite numbers, got"):
        run(tmp_path, "method.perturb.std=1e30")
    assert (tmp_path / "config.yaml").exists()


def test_a_finished_category_is_not_run_again(finished, run, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "run")  # other tests share the finished one
    banks = folder / "categories/tile/banks.safetensors"
    before = banks.stat().st_mtime_ns
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_, **__: pytest.fail("trained"))
    run(folder, f"resume={folder}")
    assert banks.stat().st_mtime_ns == before


@pytest.mark.parametrize("terminal", [True, False])
def test_every_long_step_has_a_bar_on_a_terminal_and_silence_elsewhere(
    run, tmp_path, monkeypatch, capsys, terminal
):
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    run(tmp_path, "maps=false")
    shown = capsys.readouterr().err
    for step in ("perturb", "source features", "source bank", "target features", "rectify"):
        assert (f"{step} " in shown) == terminal
    assert ("test " in shown) == terminal
