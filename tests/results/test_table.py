"""The table over runs: closed forms, and every hole in sight."""

import csv
import io
import json
import statistics
from dataclasses import fields, replace
from pathlib import Path

import pytest
from rich.console import Console

from fsad.errors import MissingDataError
from fsad.metrics import METRICS
from fsad.results.record import CategoryResult, write_result
from fsad.results.table import collect, print_table, table, write_table
from fsad.results.table.settings import OBSERVERS
from fsad.run.config import Run

PRETRAINED = {"name": "dino_vitb8", "weights": "pretrained", "sha256": "ab" * 32}
SCORES = ["fused", "source only", "target only", "part mask"]
STAGES = {"perturb": True, "rectify": True, "cross_domain": True}


def category(value):
    def five(shift):
        return dict.fromkeys(METRICS, None if value is None else value + shift)

    return CategoryResult(
        shots=["000.tiff"],
        n_source=40,
        n_test_good=10,
        n_test_defect=20,
        fused=five(0),
        source_only=five(0.01),
        target_only=five(0.02),
        part_mask=five(0.03),
        bank_rows={"source": 4, "target": 4},
        seconds={"test": 1.0},
        backbone_seconds=1.0,
        peak_rss_mb=1.0,
    )


def run(
    folder,
    values,
    seed=0,
    failed=None,
    backbone=PRETRAINED,
    shots=1,
    source_digest="",
    **method,
):
    """Write the result.json of one run; ``values`` holds one number per category."""
    folder.mkdir(parents=True)
    config = {
        "seed": seed,
        "data": {
            "category": list(values),
            "shots": shots,
            "image_size": 224,
            "root": f"data/{seed}",
            "reader": {"_target_": "fsad.data.mvtec3d.MVTec3D"},
        },
        "backbone": {"name": backbone["name"], "pretrained": True},
        "method": {"alpha": 0.3, "beta": 0.6, "stages": STAGES, "knn": 10} | method,
        "trainer": {"logs": str(folder.resolve())},
        "paths": {"output_dir": str(folder)},
    }
    categories = {
        name: replace(category(value), source_digest=source_digest)
        for name, value in values.items()
    }
    write_result(
        folder / "result.json", "hypertrans", seed, config, backbone, categories, failed or {}
    )


def lines_of(folder):
    """Return the Markdown rows as dictionaries of text."""
    text = write_table(folder / "out", collect([folder]))[0].read_text()
    first, _, _ = text.partition("\n\n")  # the paper's numbers come behind the notes
    lines = [line for line in first.splitlines() if line.startswith("| ")]
    head, _, *body = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [dict(zip(head, line, strict=True)) for line in body]


def test_cells_hold_mean_and_sample_standard_deviation_over_seeds(tmp_path):
    values = [0.5, 0.6, 0.8]
    for seed, value in enumerate(values):
        run(tmp_path / str(seed), {"bagel": value}, seed=seed)
    fused = lines_of(tmp_path)[0]
    mean, std = sum(values) / 3, statistics.stdev(values)
    assert {fused[metric] for metric in METRICS} == {f"{mean:.3f} ± {std:.3f}"}
    assert std == pytest.approx((((0.4 / 3) ** 2 + (0.1 / 3) ** 2 + (0.5 / 3) ** 2) / 2) ** 0.5)
    assert (fused["category"], fused["score"], fused["n"]) == ("bagel", "fused", "3")


def test_a_whole_number_is_one_setting_however_it_is_written(tmp_path):
    run(tmp_path / "0", {"bagel": 0.5}, seed=0, sigma=4)
    run(tmp_path / "1", {"bagel": 0.7}, seed=1, sigma=4.0)
    assert (lines_of(tmp_path)[0]["n"], lines_of(tmp_path)[0]["image_auroc"][:5]) == ("2", "0.600")


def test_runs_that_learnt_from_other_images_are_two_experiments(tmp_path):
    for seed, digest in enumerate(["ab" * 32, "ab" * 32, "cd" * 32]):
        run(tmp_path / str(seed), {"bagel": 0.5}, seed=seed, source_digest=digest)
    rows = [line for line in lines_of(tmp_path) if line["score"] == "fused"]
    assert [(line["source"], line["n"]) for line in rows if line["category"] == "bagel"] == [
        ("abababab", "2/3"),
        ("cdcdcdcd", "1/3"),
    ]


def test_a_single_seed_shows_no_spread(tmp_path):
    run(tmp_path / "0", {"bagel": 0.5})
    assert lines_of(tmp_path)[0]["image_auroc"] == "0.500"


def test_every_category_has_its_scores_and_the_control(tmp_path):
    run(tmp_path / "0", {"bagel": 0.5, "dowel": 0.7})
    lines = lines_of(tmp_path)
    names = [(line["category"], line["score"]) for line in lines]
    assert names == [(name, score) for name in ("bagel", "dowel", "mean") for score in SCORES]
    assert [line["image_auroc"] for line in lines[-4:]] == ["0.600", "0.610", "0.620", "0.630"]


def test_the_settings_of_a_row_are_read_from_its_config(tmp_path):
    run(tmp_path / "0", {"bagel": 0.5}, shots=5)
    fused = lines_of(tmp_path)[0]
    expected = {"dataset": "mvtec3d", "backbone": "dino_vitb8", "method": "hypertrans"}
    assert expected.items() <= fused.items()
    assert fused["shots"] == "5"
    assert "alpha" not in fused
    assert "stages" not in fused


def test_a_switch_beyond_the_paper_that_is_off_is_as_if_it_were_not_there(tmp_path):
    off = {"excess": False, "rotations": 1}
    run(tmp_path / "a", {"bagel": 0.4}, seed=0)
    run(tmp_path / "b", {"bagel": 0.6}, seed=1, plus=off)
    run(tmp_path / "c", {"bagel": 0.8}, plus=off | {"rotations": 4})
    lines = [line for line in lines_of(tmp_path) if line["score"] == "fused"]
    assert sorted((line["n"], line["image_auroc"]) for line in lines) == [
        ("1/2", "0.800"),  # of two draws it lacks one
        ("2", "0.500 ± 0.141"),
    ]


HYPERTRANS = {"_target_": "fsad.methods.hypertrans.HyperTrans"}


def test_a_retired_setting_at_its_default_is_as_if_it_were_not_there(tmp_path):
    old = {
        "plus": {"excess": True, "calibrate": False, "rotations": 4},
        "perturb": {"std": 0.75, "factors": "channel"},
        "banks": {"target_ratio": 1.0, "coreset_slack": 0.0},
        "coreset_slack": 0.0,
    }
    new = {
        "plus": {"excess": True, "rotations": 4},
        "perturb": {"std": 0.75},
        "banks": {"target_ratio": 1.0},
    }
    run(tmp_path / "a", {"bagel": 0.4}, seed=0, **HYPERTRANS, **old)
    run(tmp_path / "b", {"bagel": 0.6}, seed=1, **HYPERTRANS, **new)
    (line,) = (line for line in lines_of(tmp_path) if line["score"] == "fused")
    assert (line["n"], line["image_auroc"]) == ("2", "0.500 ± 0.141")


def test_a_retired_setting_that_did_something_is_shown(tmp_path):
    run(tmp_path / "a", {"bagel": 0.4}, **HYPERTRANS, banks={"coreset_slack": 0.1})
    run(tmp_path / "b", {"bagel": 0.6}, **HYPERTRANS, banks={})
    lines = [line for line in lines_of(tmp_path) if line["score"] == "fused"]
    assert sorted((line["coreset_slack"], line["image_auroc"]) for line in lines) == [
        ("0.1", "0.400"),
        ("–", "0.600"),
    ]


def test_what_only_says_what_is_written_is_no_setting_of_a_row():
    decisive = {"data", "protocol", "backbone", "method", "trainer", "metrics", "seed"}
    assert {each.name for each in fields(Run)} - decisive <= OBSERVERS


def test_two_alphas_give_two_rows_sorted_by_number(tmp_path):
    for name, alpha in (("a", 0.5), ("b", 0.3)):
        run(tmp_path / name, {"bagel": alpha}, alpha=alpha)
    lines = [line for line in lines_of(tmp_path) if line["score"] == "fused"]
    assert [(line["alpha"], line["image_auroc"]) for line in lines] == [
        ("0.3", "0.300"),
        ("0.5", "0.500"),
    ]
    assert "beta" not in lines[0]


@pytest.mark.parametrize(
    ("settings", "is_shown"),
    [
        ([{"window": 3}, {"window": 5}], True),
        ([{"levels": {"first": 0.1}}, {"levels": {"first": 0.2}}], True),
        ([{"scale": "one"}, {"scale": "median"}], False),
        ([{"rectify_banks": True}, {"rectify_banks": False}], False),
    ],
    ids=["number", "nested number", "word", "switch"],
)
def test_a_number_of_the_method_is_shown_wherever_it_varies(tmp_path, settings, is_shown):
    for shots, own in enumerate(settings, 1):  # other shots tell them apart already
        run(tmp_path / str(shots), {"bagel": 0.5}, shots=shots, **own)
    headings = set(table(collect([tmp_path])).headings)
    usual = {"dataset", "category", "backbone", "method", "shots", "score"}
    assert len(headings - usual) == is_shown


def test_a_number_that_two_methods_have_differently_is_not_shown(tmp_path):
    for name, window in (("padim", 3), ("other", 5)):
        run(tmp_path / name, {"bagel": 0.5}, window=window)
        path = tmp_path / name / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"method": name}))
    assert "window" not in table(collect([tmp_path])).headings


def test_shots_are_sorted_as_numbers(tmp_path):
    for shots in (10, 2, 1):
        run(tmp_path / str(shots), {"bagel": 0.5}, shots=shots)
    lines = [line for line in lines_of(tmp_path) if line["score"] == "fused"]
    assert [line["shots"] for line in lines] == ["1", "2", "10"]


def test_runs_that_differ_in_any_other_setting_are_never_averaged(tmp_path):
    run(tmp_path / "a", {"bagel": 0.5}, knn=10)
    run(tmp_path / "b", {"bagel": 0.7}, knn=20, seed=1)
    lines = [line for line in lines_of(tmp_path) if line["score"] == "fused"]
    assert [(line["knn"], line["image_auroc"], line["n"]) for line in lines] == [
        ("10", "0.500", "1/2"),
        ("20", "0.700", "1/2"),
    ]


def test_what_moves_no_number_makes_no_row_of_its_own(tmp_path):
    run(tmp_path / "a", {"bagel": 0.5})
    run(tmp_path / "b", {"bagel": 0.7}, seed=1)
    result = tmp_path / "b/result.json"
    changed = json.loads(result.read_text())
    changed["config"]["cache"] = {"max_gb": 0}
    changed["config"]["trainer"] |= {"devices": 2, "strategy": "ddp"}
    result.write_text(json.dumps(changed))
    lines = [line for line in lines_of(tmp_path) if line["score"] == "fused"]
    assert [(line["image_auroc"], line["n"]) for line in lines] == [("0.600 ± 0.141", "2")]


def test_a_run_from_before_images_could_shrink_otherwise_is_one_of_nearest(tmp_path):
    for number, rule in enumerate((None, "nearest", "area")):
        run(tmp_path / str(number), {"bagel": 0.5 + 0.1 * number}, seed=number)
        result = tmp_path / str(number) / "result.json"
        changed = json.loads(result.read_text())
        changed["config"]["data"] |= {"shrink": rule, "invalid": []} if rule else {}
        result.write_text(json.dumps(changed))
    lines = [line for line in lines_of(tmp_path) if line["score"] == "fused"]
    assert [(line["shrink"], line["image_auroc"], line["n"]) for line in lines] == [
        ("area", "0.700", "1/3"),
        ("nearest", "0.550 ± 0.071", "2/3"),
    ]


def test_runs_with_other_weights_in_the_same_backbone_are_never_averaged(tmp_path):
    run(tmp_path / "a", {"bagel": 0.5})
    run(tmp_path / "b", {"bagel": 0.7}, seed=1, backbone=PRETRAINED | {"sha256": "cd" * 32})
    lines = [line for line in lines_of(tmp_path) if line["score"] == "fused"]
    assert [line["sha256"] for line in lines] == ["ab" * 32, "cd" * 32]


def test_stages_are_shown_once_one_is_off(tmp_path):
    run(tmp_path / "a", {"bagel": 0.5})
    run(tmp_path / "b", {"bagel": 0.7}, stages=STAGES | {"rectify": False})
    run(tmp_path / "c", {"bagel": 0.7}, stages=dict.fromkeys(STAGES, False))
    stages = {line["stages"] for line in lines_of(tmp_path)}
    assert stages == {"all", "perturb + cross_domain", "none"}


def test_random_weights_are_marked_in_every_row(tmp_path):
    for seed in range(2):
        weights = {"name": "tiny", "weights": "random weights", "sha256": str(seed) * 64}
        run(tmp_path / str(seed), {"bagel": 0.5, "dowel": 0.6}, seed=seed, backbone=weights)
    lines = lines_of(tmp_path)
    assert len(lines) == 3 * len(SCORES)
    assert {line["backbone"] for line in lines} == {"tiny (random weights)"}
    assert {line["n"] for line in lines} == {"2"}


def test_a_seed_that_other_rows_have_is_missed(tmp_path):
    for seed in range(5):
        run(tmp_path / f"a{seed}", {"bagel": 0.5}, seed=seed, alpha=0.3)
        if seed != 3:
            run(tmp_path / f"b{seed}", {"bagel": 0.5}, seed=seed, alpha=0.5)
    counts = {line["alpha"]: line["n"] for line in lines_of(tmp_path)}
    assert counts == {"0.3": "5", "0.5": "4/5"}


def test_a_category_that_failed_everywhere_is_missing(tmp_path):
    run(tmp_path / "0", {"bagel": 0.5}, failed={"dowel": "no images"})
    lines = {(line["category"], line["score"]): line for line in lines_of(tmp_path)}
    for name in ("dowel", "mean"):
        assert {lines[name, "all"][metric] for metric in METRICS} == {"missing"}
        assert lines[name, "all"]["n"] == "0/1"
    assert lines["bagel", "fused"]["image_auroc"] == "0.500"
    notes = table(collect([tmp_path])).notes
    assert [note for note in notes if note.startswith("dowel: missing for seed 0")]


def test_the_mean_uses_only_seeds_that_have_every_category(tmp_path):
    run(tmp_path / "0", {"bagel": 0.5, "dowel": 0.7}, seed=0)
    run(tmp_path / "1", {"bagel": 0.9}, seed=1, failed={"dowel": "no images"})
    lines = {(line["category"], line["score"]): line for line in lines_of(tmp_path)}
    counts = {name: lines[name, "fused"]["n"] for name in ("bagel", "dowel", "mean")}
    assert counts == {"bagel": "2", "dowel": "1/2", "mean": "1/2"}
    assert lines["mean", "fused"]["image_auroc"] == "0.600"


def test_categories_of_one_experiment_are_joined_across_runs(tmp_path):
    for name, value in (("bagel", 0.5), ("dowel", 0.7)):
        for seed in range(2):
            run(tmp_path / f"{name}{seed}", {name: value + seed / 10}, seed=seed)
    lines = {(line["category"], line["score"]): line for line in lines_of(tmp_path)}
    assert lines["mean", "fused"]["image_auroc"] == f"0.650 ± {0.1 / 2**0.5:.3f}"
    assert lines["mean", "fused"]["n"] == "2"


def test_an_undefined_metric_is_a_dash_and_its_seeds_are_counted(tmp_path):
    run(tmp_path / "0", {"bagel": None, "dowel": 0.5}, seed=0)
    run(tmp_path / "1", {"bagel": 0.7, "dowel": 0.5}, seed=1)
    lines = {(line["category"], line["score"]): line for line in lines_of(tmp_path)}
    assert lines["bagel", "fused"]["image_auroc"] == "0.700 (n=1)"
    assert lines["mean", "fused"]["image_auroc"] == "0.600 (n=1)"
    assert lines["bagel", "fused"]["n"] == "2"
    (tmp_path / "1" / "result.json").unlink()
    assert lines_of(tmp_path)[0]["image_auroc"] == "–"


def test_the_mean_is_over_the_categories_that_have_the_metric_and_says_how_many(tmp_path):
    for seed in range(2):
        run(tmp_path / str(seed), {"bagel": None, "dowel": 0.5, "foam": 0.7 + seed / 10}, seed=seed)
    lines = {(line["category"], line["score"]): line for line in lines_of(tmp_path)}
    spread = f"{0.05 / 2**0.5:.3f}"
    for score, mean in (("fused", 0.625), ("source only", 0.635), ("part mask", 0.655)):
        assert lines["mean", score]["image_auroc"] == f"{mean:.3f} ± {spread} (2 of 3)"
    assert lines["bagel", "fused"]["image_auroc"] == "–"
    notes = table(collect([tmp_path])).notes
    assert sum(note.startswith("(1 of 2): a mean over 1 of 2") for note in notes) == 1
    rows = csv.DictReader(io.StringIO((tmp_path / "out/table.csv").read_text()))
    numbers = {row["category"]: row["image_auroc"] for row in rows if row["score"] == "fused"}
    assert numbers == {"bagel": "", "dowel": "0.500", "foam": "0.750", "mean": "0.625"}


def test_the_mean_of_categories_that_all_lack_the_metric_is_a_dash(tmp_path):
    run(tmp_path / "0", {"bagel": None, "dowel": None})
    lines = {(line["category"], line["score"]): line for line in lines_of(tmp_path)}
    assert {lines["mean", "fused"][metric] for metric in METRICS} == {"–"}
    assert not [note for note in table(collect([tmp_path])).notes if note.startswith("(1 of 2)")]


def test_a_job_without_result_is_a_row_with_its_name(tmp_path):
    run(tmp_path / "sweep" / "0", {"bagel": 0.5})
    (tmp_path / "sweep" / "0" / ".hydra").mkdir()
    (tmp_path / "sweep" / "0" / ".hydra" / "overrides.yaml").write_text("- seed=0\n")
    (tmp_path / "sweep" / "1" / ".hydra").mkdir(parents=True)
    (tmp_path / "sweep" / "1" / ".hydra" / "config.yaml").write_text("seed: 1\n")
    overrides = tmp_path / "sweep" / "1" / ".hydra" / "overrides.yaml"
    overrides.write_text("- method.alpha=0.5\n- seed=1\n")
    (tmp_path / "sweep" / "2" / "wandb").mkdir(parents=True)
    (tmp_path / "sweep" / "2" / "config.yaml").write_text("seed: 2\n")
    (tmp_path / "sweep" / "2" / "wandb" / "config.yaml").write_text("a logger's own\n")
    (tmp_path / "sweep" / "multirun.yaml").write_text("hydra: {}\n")
    holes = lines_of(tmp_path)[len(SCORES) :]
    assert [line["dataset"] for line in holes] == [
        "missing: sweep/1 (method.alpha=0.5, seed=1)",
        "missing: sweep/2",
    ]
    assert {line[metric] for line in holes for metric in METRICS} == {"missing"}


@pytest.mark.parametrize(
    "override", ["resume=outputs/a", "paths.output_dir=elsewhere", "++paths.output_dir=elsewhere"]
)
def test_a_job_that_wrote_to_another_folder_is_no_hole_where_hydra_was_started(tmp_path, override):
    run(tmp_path / "0", {"bagel": 0.5})
    (tmp_path / "multirun.yaml").write_text("hydra: {}\n")
    (tmp_path / "1" / ".hydra").mkdir(parents=True)
    (tmp_path / "1" / ".hydra" / "overrides.yaml").write_text(f"- seed=0\n- {override}\n")
    assert collect([tmp_path]).missing == []
    (tmp_path / "1" / "config.yaml").write_text("seed: 0\n")  # it wrote here after all
    assert collect([tmp_path]).missing == [f"1 (seed=0, {override})"]


def test_a_multiruns_job_that_resumed_nothing_is_a_hole(tmp_path):
    (tmp_path / "multirun.yaml").write_text("hydra: {}\n")
    (tmp_path / "1" / ".hydra").mkdir(parents=True)
    (tmp_path / "1" / ".hydra" / "overrides.yaml").write_text("- resume=null\n")
    assert collect([tmp_path]).missing == ["1 (resume=null)"]


def test_a_job_of_a_resumed_sweep_that_left_nothing_is_a_hole(tmp_path):
    (tmp_path / "multirun.yaml").write_text("hydra: {}\n")
    (tmp_path / "1" / ".hydra").mkdir(parents=True)
    (tmp_path / "1" / ".hydra" / "overrides.yaml").write_text(f"- resume='{tmp_path}'\n")
    assert collect([tmp_path]).missing == [f"1 (resume='{tmp_path}')"]


def test_a_single_job_refused_before_it_began_is_no_hole(tmp_path):
    run(tmp_path / "0", {"bagel": 0.5})
    (tmp_path / "1" / ".hydra").mkdir(parents=True)
    (tmp_path / "1" / ".hydra" / "overrides.yaml").write_text("- method.alpha=7\n")
    assert collect([tmp_path]).missing == []


def test_a_broken_result_is_named_and_stops_nothing(tmp_path):
    run(tmp_path / "0", {"bagel": 0.5})
    run(tmp_path / "1", {"bagel": 0.5}, seed=1)
    broken = tmp_path / "1" / "result.json"
    broken.write_text(broken.read_text()[:100])
    runs = collect([tmp_path])
    assert [result.seed for result in runs.results] == [0]
    assert len(runs.problems) == 1
    assert f"{broken}: expected JSON" in runs.problems[0]
    assert f"- Not read: {broken}" in write_table(tmp_path, runs)[0].read_text()


def test_a_seed_found_twice_is_named_and_the_last_is_kept(tmp_path):
    run(tmp_path / "a", {"bagel": 0.5})
    run(tmp_path / "b", {"bagel": 0.7})
    runs = collect([tmp_path])
    note = f"bagel: seed 0 was found twice, the last is {tmp_path / 'b' / 'result.json'}"
    assert note in table(runs).notes
    assert lines_of(tmp_path)[0]["image_auroc"] == "0.700"
    assert lines_of(tmp_path)[0]["n"] == "1"


def test_runs_of_different_code_are_told_apart_in_a_note(tmp_path):
    for seed, revision in enumerate(["aaa", "bbb", None]):
        run(tmp_path / str(seed), {"bagel": 0.5}, seed=seed)
        file = tmp_path / str(seed) / "result.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"git": revision}))
    note = "The runs come from different revisions of the code: aaa, bbb, unknown"
    assert note in table(collect([tmp_path])).notes
    assert note not in table(collect([tmp_path / "0"])).notes


def test_revisions_are_short_and_say_whether_they_were_committed(tmp_path):
    one, other = "0123456789abcdef" * 3, "fedcba9876543210" * 3
    for seed, revision in enumerate([one, f"{one}-dirty", f"{other}-dirty-{one}"]):
        run(tmp_path / str(seed), {"bagel": 0.5}, seed=seed)
        file = tmp_path / str(seed) / "result.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"git": revision}))
    (note,) = (note for note in table(collect([tmp_path])).notes if "revisions" in note)
    assert note.endswith(": 0123456789, 0123456789-dirty, fedcba9876-dirty-0123456789")


def test_overlapping_folders_are_read_once(tmp_path):
    run(tmp_path / "a", {"bagel": 0.5})
    runs = collect([tmp_path, tmp_path / "a", tmp_path / "a" / "result.json"])
    assert len(runs.results) == 1


def test_a_method_without_a_source_score_still_shows_the_control(tmp_path):
    run(tmp_path / "a", {"bagel": 0.5, "dowel": 0.5})
    file = tmp_path / "a" / "result.json"
    result = json.loads(file.read_text())
    for entry in result["categories"].values():
        entry["source_only"] = {}
        entry["target_only"] = {}
    file.write_text(json.dumps(result))
    lines = [(line["category"], line["score"]) for line in lines_of(tmp_path)]
    scores = ("fused", "part mask")
    assert lines == [(name, score) for name in ("bagel", "dowel", "mean") for score in scores]


def test_csv_holds_mean_and_spread_apart(tmp_path):
    run(tmp_path / "0", {"bagel": 0.5}, seed=0)
    run(tmp_path / "1", {"bagel": 0.7}, seed=1, failed={"dowel": "no images"})
    text = write_table(tmp_path / "out.csv", collect([tmp_path]))[1].read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    fused = next(row for row in rows if (row["category"], row["score"]) == ("bagel", "fused"))
    assert fused["image_auroc"] == "0.600"
    assert fused["image_auroc_std"] == f"{0.2 / 2**0.5:.3f}"
    assert (fused["n"], fused["n_expected"]) == ("2", "2")
    hole = next(row for row in rows if row["category"] == "dowel")
    assert (hole["image_auroc"], hole["image_auroc_std"], hole["n"]) == ("missing", "", "0")


@pytest.mark.parametrize("given", ["new", "new/table.md", "new/table.csv"])
def test_both_files_are_written_for_a_folder_or_a_name(tmp_path, given):
    run(tmp_path / "0", {"bagel": 0.5})
    files = write_table(tmp_path / given, collect([tmp_path]))
    assert files == (tmp_path / "new" / "table.md", tmp_path / "new" / "table.csv")
    assert all(file.is_file() for file in files)


def test_the_terminal_shows_the_same_numbers_and_notes(tmp_path):
    run(tmp_path / "0", {"bagel": 0.512}, failed={"[bold]": "odd name"})
    console = Console(file=io.StringIO(), width=300)
    print_table(collect([tmp_path]), console)
    text = console.file.getvalue()
    assert "0.512" in text
    assert "[bold]" in text  # names are no markup
    assert "The part mask is the control" in text
    assert "its image_auroc is about 0.5 by construction" in " ".join(text.split())


def test_nothing_found_is_refused(tmp_path):
    with pytest.raises(MissingDataError, match=r"expected a result\.json below, got none"):
        collect([tmp_path])
    with pytest.raises(MissingDataError, match="expected a folder with results, got nothing there"):
        collect([Path(tmp_path / "nowhere")])


ODD = "a|b`c`\n<img src=x>![p](http://x)*&\\"


def test_a_name_is_shown_in_markdown_as_it_is(tmp_path):
    run(tmp_path / "a", {ODD: 0.5}, failed={"=cube|": "no\nreason"})
    markdown, _ = write_table(tmp_path, collect([tmp_path]))
    text = markdown.read_text()
    shown = r"a\|b\`c\`\n&lt;img src=x&gt;!\[p](http://x)\*&amp;" + "\\\\"
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert any(f"| {shown} |" in row for row in rows), text
    assert len({row.replace(r"\|", "").count("|") for row in rows}) == 1  # cells
    assert "<img" not in text
    assert "`c`" not in text


def test_a_name_is_no_formula_in_the_csv_and_numbers_are_numbers(tmp_path):
    run(tmp_path / "a", {"=1+1": 0.5, "-x": 0.25})
    _, table_csv = write_table(tmp_path, collect([tmp_path]))
    rows = list(csv.DictReader(io.StringIO(table_csv.read_text())))
    assert {row["category"] for row in rows} >= {"'=1+1", "'-x"}
    assert "0.500" in {row["image_auroc"] for row in rows}
