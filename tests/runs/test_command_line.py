"""``train.py`` as a user meets it: one line for a mistake, a non-zero exit, nothing lost."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hydra.errors import CompactHydraException, InstantiationException
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from fsad.cli import app
from fsad.errors import ConfigError
from fsad.results.run_folder import alone_in, begin
from fsad.run.job import build

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dataset(finished, tmp_path):
    """A copy of the generated set that a test may spoil."""
    config = json.loads((finished / "result.json").read_text())["config"]
    (made,) = Path(config["data"]["root"]).iterdir()
    return Path(shutil.copytree(made, tmp_path / "data"))


def spoiled(path):
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method.alpha=2"], "method.alpha: expected a number in [0, 1], got 2"),
        (["method.beta=-1"], "method.beta: expected a number in [0, 1], got -1"),
        (["data.category=bagel"], "data.category: expected one of knob, tile, got 'bagel'"),
        (["data.shots=9"], "data.shots: expected at most 4 for category 'tile', got 9"),
        (["trainer.devices=0"], "trainer.devices: expected a whole number of at least 1, got 0"),
        (["trainer=gpu"], "trainer: expected settings that lightning.Trainer takes, got"),
        (["data.categry=tile"], "data.categry: expected the name of a setting, got an unknown"),
        (["method=patchcor"], "method: expected one of ahl, anomalydino, ast,"),
        (["+method.x.foo=1"], "settings: expected those the class takes, got 'HyperTrans"),
    ],
)
def test_a_mistake_is_one_line_and_a_non_zero_exit(command, words, message):
    code, said = command(*words)
    assert code == 1
    assert message in said.splitlines()[-1]
    assert "Traceback" not in said
    assert "Error executing job" not in said


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("method.alpha=2", InstantiationException),
        ("data.category=bagel", ConfigError),
        ("data.categry=tile", CompactHydraException),
    ],
)
def test_a_variable_asks_for_the_traceback_of_a_mistake(command, monkeypatch, word, error):
    monkeypatch.setenv("FSAD_DEBUG", "1")
    with pytest.raises(error):  # so that Python shows it
        command(word)


def test_a_mistyped_category_leaves_no_run(command, tmp_path):
    code, said = command("data.category=bagel", f"paths.output_dir={tmp_path / 'run'}")
    assert code == 1, said
    assert not list((tmp_path / "run").iterdir())


def test_a_reader_that_has_seen_enough_of_the_help_is_no_mistake():
    process = subprocess.run(
        f"{sys.executable} {ROOT / 'train.py'} --help | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.startswith("train is powered by Hydra")
    assert process.stderr == ""


def test_weights_that_cannot_be_had_name_the_command_that_fetches_them(
    command, small_cnn, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, said = command("backbone=resnet18", small=small_cnn)
    assert code == 1
    assert "backbone 'resnet18': expected pretrained weights" in said
    assert "hf download timm/resnet18.tv_in1k" in said
    assert "Traceback" not in said


def test_a_weights_file_of_another_architecture_is_named(command, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    code, said = command(f"backbone.weights_path={path}")
    assert code == 1
    assert f"weights '{path}': expected" in said
    assert "Traceback" not in said


def test_an_output_folder_that_cannot_be_written_is_named(command, tmp_path):
    (tmp_path / "file").write_text("")
    code, said = command(f"paths.output_dir={tmp_path / 'file' / 'run'}")
    assert code == 1
    assert "paths.output_dir: expected a folder that can be written, got" in said


@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.sweep.dir"])
def test_a_hydra_folder_that_cannot_be_written_is_named(command, tmp_path, key):
    (tmp_path / "file").write_text("")
    more = ["hydra.mode=MULTIRUN", "seed=0,1"] if "sweep" in key else []
    code, said = command(*more, f"{key}={tmp_path / 'file' / 'run'}")
    assert code == 1
    assert f"{tmp_path / 'file'}" in said
    assert "Choose another hydra.run.dir (or hydra.sweep.dir)." in said


def test_a_folder_with_another_run_is_refused(command, finished):
    code, said = command("seed=5", f"paths.output_dir={finished}")
    assert code == 1
    assert f"paths.output_dir: expected a folder without a run, got '{finished}'" in said
    assert f"resume={finished}" in said


def test_wandb_without_an_account_is_one_line(command, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("NETRC", "/nowhere")
    code, said = command("logger=wandb")
    assert code == 1
    assert "logger: expected WandbLogger to start, got" in said
    assert "pass logger.wandb.offline=true" in said
    assert "Traceback" not in said


def on_disk(dataset, output):
    return [
        "data=mvtec3d",
        "backbone=tiny",
        f"data.root={dataset}",
        f"paths.output_dir={output}",
        "method.perturb.epochs=1",
        "method.rectify.epochs=2",
    ]


def test_a_truncated_tiff_keeps_what_was_computed_and_the_run_goes_on_once_mended(
    command, dataset, small_on_disk, tmp_path
):
    victim = sorted((dataset / "tile/test/good/xyz").glob("*.tiff"))[0]
    whole = victim.read_bytes()
    spoiled(victim)
    code, said = command(*on_disk(dataset, tmp_path / "run"), small=small_on_disk)
    assert code == 1
    assert f"{victim}: expected" in said
    assert "Traceback" not in said
    kept = tmp_path / "run/categories/tile"
    assert {"perturb.safetensors", "banks.safetensors", "rectify.safetensors"} <= set(
        os.listdir(kept)
    )
    before = load_file(kept / "rectify.safetensors")

    victim.write_bytes(whole)
    code, _ = command(f"resume={tmp_path / 'run'}", small=())
    assert code == 0
    assert (tmp_path / "run/result.json").exists()
    after = load_file(kept / "rectify.safetensors")
    assert all(bool((before[name] == after[name]).all()) for name in before)


def test_with_all_categories_a_bad_one_does_not_lose_the_others(
    command, dataset, small_on_disk, tmp_path
):
    spoiled(sorted((dataset / "knob/train/good/rgb").glob("*.png"))[0])
    code, said = command(
        *on_disk(dataset, tmp_path / "run"), "data.category=all", small=small_on_disk
    )
    assert code == 1
    assert "categories: expected 2 to finish, got 1; failed: knob" in said
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert list(result["categories"]) == ["tile"]
    assert "expected" in result["failed"]["knob"]
    assert (tmp_path / "run/scores.csv").read_text().count("tile") > 0


@pytest.mark.slow
def test_a_multirun_gives_every_job_a_folder_and_a_wandb_run_of_its_own(command, tmp_path):
    shared = tmp_path / "sweep"
    code, said = command(
        "--multirun",
        "method.perturb.epochs=1",
        "method.rectify.epochs=2",
        "logger=wandb",
        "logger.wandb.offline=true",
        "method.alpha=0.3,2,0.5",  # the second job's is out of range
        f"hydra.sweep.dir={shared}",
    )
    assert code == 1
    assert "method.alpha: expected a number in [0, 1], got 2" in said
    assert "Traceback" not in said
    assert (shared / "0/result.json").exists()
    assert not (shared / "1/result.json").exists()
    assert (shared / "2/result.json").exists()
    runs = {
        job: [path.name for path in (shared / job / "wandb").glob("offline-run-*")]
        for job in ("0", "2")
    }
    assert all(len(names) == 1 for names in runs.values()), runs
    assert runs["0"] != runs["2"]
    pictures = list((shared / "0/wandb").glob("offline-run-*/files/media/images/maps*.png"))
    assert pictures
    table = CliRunner().invoke(app, ["table", str(shared)])
    assert table.exit_code == 0, table.output
    assert "missing" in table.stdout


RAW = ("method=raw", "maps=false", "report=false", "threshold=false", "logger=none")
SECOND = "hydra.run.dir='outputs/${now:%Y}'"  # as if a year were a second


def without_method(small):
    return tuple(word for word in small if not word.startswith("method."))


def test_two_runs_begun_in_one_second_end_in_folders_of_their_own(command, small, tmp_path):
    for seed in (0, 1):
        code, said = command(*RAW, SECOND, f"seed={seed}", small=without_method(small))
        assert code == 0, said
    folders = sorted((tmp_path / "outputs").iterdir())
    assert [it.name for it in folders] == [folders[0].name, f"{folders[0].name}_2"]
    results = [json.loads((it / "result.json").read_text()) for it in folders]
    assert [it["seed"] for it in results] == [it["config"]["seed"] for it in results] == [0, 1]


def test_a_run_begun_in_a_folder_while_this_one_was_built_is_not_mixed_with(
    command, small, tmp_path, monkeypatch
):
    folder = tmp_path / "run"

    def build_slowly(*arguments):
        job = build(*arguments)
        begin(folder, "seed: 5")  # another process does
        return job

    monkeypatch.setattr("fsad.run.job.build", build_slowly)
    words = (*RAW, f"paths.output_dir={folder}")
    code, said = command(*words, small=without_method(small))
    assert code == 1
    assert f"expected a folder without a run, got '{folder}' with categories. Go on with" in said
    assert (folder / "config.yaml").read_text() == "seed: 5"
    assert not (folder / "result.json").exists()


def test_a_run_that_another_process_goes_on_with_is_refused(
    command, finished, tmp_path, monkeypatch
):
    folder = shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr("fsad.results.run_folder.PATIENCE", 0.1)
    held, done = threading.Event(), threading.Event()

    def hold():
        with alone_in(folder):
            held.set()
            done.wait()

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    code, said = command(f"resume={folder}", small=())
    done.set()
    other.join()
    assert code == 1
    assert f"expected a folder that no other process writes to, got '{folder}'." in said
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_of_two_runs_started_at_once_in_one_folder_one_ends_and_the_other_is_refused(
    cache, small, tmp_path
):
    folder = tmp_path / "run"
    words = [*without_method(small), *RAW, f"paths.output_dir={folder}", f"paths.cache_dir={cache}"]
    runs = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *words, f"seed={seed}"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in (0, 1)
    ]
    said = [process.communicate()[1] for process in runs]
    codes = [process.returncode for process in runs]
    assert sorted(codes) == [0, 1], said
    assert "expected a folder without a run" in said[codes.index(1)]
    assert json.loads((folder / "result.json").read_text())["seed"] == codes.index(0)
    assert OmegaConf.load(folder / "config.yaml").seed == codes.index(0)
