"""The Makefile's targets call what they say; the environment is this one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*words):
    # -o: take the environment for made, whatever the date of pyproject.toml
    command = ["make", "-o", ".venv/installed", f"BIN={Path(sys.executable).parent}", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_table_writes_both_files(finished, tmp_path):
    done = make("table", f"RUNS={finished}", f"OUT={tmp_path / 'tables'}")
    assert done.returncode == 0, done.stderr
    assert "tile" in (tmp_path / "tables/table.md").read_text()
    assert "tile" in (tmp_path / "tables/table.csv").read_text()


def test_table_without_runs_says_what_to_do():
    done = make("table", "RUNS=")
    assert done.returncode != 0
    assert "table: expected runs, got none. Run make train first" in done.stderr


def test_sweep_without_a_name_says_what_to_do():
    done = make("sweep")
    assert done.returncode != 0
    assert "sweep: expected a name, got none. Say make sweep NAME=shots" in done.stderr


def test_sweep_passes_its_name_on():
    done = make("--dry-run", "sweep", "NAME=[alpha_beta,shots]", "ARGS=seed=1")
    assert "train.py 'sweep=[alpha_beta,shots]' seed=1" in done.stdout


@pytest.mark.parametrize(
    ("given", "passed"), [("1", "newest"), ("multirun/2026-01-01/10-00-00",) * 2]
)
def test_sweep_goes_on_with_the_newest_or_the_one_named(given, passed):
    done = make("--dry-run", "sweep", "NAME=shots", f"RESUME={given}", "ARGS=trainer=gpu")
    assert f"train.py 'sweep=shots' 'resume={passed}' trainer=gpu" in done.stdout


def test_sweep_without_an_earlier_one_says_what_to_do():
    done = make("sweep", "NAME=shots", "RESUME=1", "ARGS=hydra.sweep.dir=nowhere/DATE/TIME")
    assert done.returncode != 0
    assert "resume: expected an earlier multirun with sweep=shots below 'nowhere'" in done.stderr
    assert "Start one without it, or pass its folder." in done.stderr


@pytest.mark.parametrize("some", ["", "-k cache", "tests/runs", "--durations=5"])
def test_tests_are_shared_out_to_the_cores_and_those_of_a_file_stay_together(some):
    shown = make("--dry-run", "test", f"ARGS={some}").stdout
    assert (
        f"pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder {some}\n"
        in shown
    )


@pytest.mark.parametrize("some", ["tests/test_cli.py", "-x tests/test_cli.py::test_help"])
def test_a_single_file_of_tests_is_run_without_workers(some):
    assert f"pytest  {some}\n" in make("--dry-run", "test", f"ARGS={some}").stdout


def test_help_lists_every_target():
    shown = make("help").stdout
    for target in ("train", "test", "lint", "types", "check", "sweep", "table", "clean"):
        assert f"\n{target} " in f"\n{shown}"
