"""A sweep that was broken goes on where it stopped, in one process or in several."""

import json
import shutil
import subprocess
import sys
from functools import wraps
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from outcome import numbers

from fsad.methods.hypertrans.rectification import HypergraphRectificationModule
from fsad.results.dataset import open_dataset
from fsad.results.record import read_result
from fsad.run.sweep import finished as finished_in

ROOT = Path(__file__).parents[2]
AXES = ("hydra.mode=MULTIRUN", "seed=0,1,2", "maps=false", "cache=none")
discover = Plugins.instance().discover
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


class Killed(BaseException):
    """Not an Exception, so that nothing on the way handles it."""


def kill_in_stage_rectify_of_the_second_job(monkeypatch):
    original = HypergraphRectificationModule.training_step
    modules = []

    @wraps(original)  # Lightning reads the signature
    def dying(self, *args, **kwargs):
        if self not in modules:
            modules.append(self)
        if len(modules) == 2 and self.global_step == 6:
            raise Killed
        return original(self, *args, **kwargs)

    monkeypatch.setattr(HypergraphRectificationModule, "training_step", dying)


def written(run):
    """When each result of a run was written."""
    files = [path for path in run.rglob("*") if path.is_file() and path.suffix != ".log"]
    return {path: path.stat().st_mtime_ns for path in files if ".hydra" not in path.parts}


def same(ours, theirs):
    scores = [(run / "scores.csv").read_bytes() for run in (ours, theirs)]
    return numbers(ours) == numbers(theirs) and scores[0] == scores[1]


@pytest.fixture(scope="session")
def by_two_workers(cache, small, tmp_path_factory):
    """An unbroken sweep over three seeds, its jobs in two processes of joblib's."""
    folder = tmp_path_factory.mktemp("unbroken")
    program = [sys.executable, str(ROOT / "train.py"), f"paths.cache_dir={cache}", *small]
    done = subprocess.run(
        [*program, *AXES, *JOBLIB, f"hydra.sweep.dir={folder}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "n_jobs=2" in done.stdout
    assert "ConfigStore" not in done.stderr  # Hydra's warning of a schema with a file's name
    return folder


def multirun(folder):
    """Find the only sweep below a folder."""
    (file,) = (folder / "multirun").glob("*/*/multirun.yaml")
    return file.parent


@pytest.mark.slow
def test_a_killed_sweep_runs_what_is_missing_and_ends_as_an_unbroken_one(
    command, by_two_workers, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        kill_in_stage_rectify_of_the_second_job(patch)
        with pytest.raises(Killed):
            command(*AXES)
    sweep = multirun(tmp_path)
    assert (sweep / "0/result.json").exists()
    assert (sweep / "1/categories/tile/banks.safetensors").exists()
    assert not (sweep / "1/result.json").exists()
    assert not (sweep / "2").exists()
    finished, halfway = written(sweep / "0"), written(sweep / "1")

    code, said = command(*AXES, "resume=newest")
    assert code == 0, said
    assert multirun(tmp_path) == sweep  # and no other
    assert written(sweep / "0") == finished
    assert "already finished" in (sweep / "0/train.log").read_text()
    trained = sweep / "1/categories/tile/perturb.safetensors"
    assert written(sweep / "1")[trained] == halfway[trained]
    assert all(same(sweep / job, by_two_workers / job) for job in "012")


def test_a_category_that_failed_is_run_once_its_data_are_mended(
    command, finished, small_on_disk, tmp_path
):
    made = open_dataset(read_result(finished / "result.json")).root
    root = Path(shutil.copytree(made, tmp_path / "data"))
    victim = sorted((root / "knob/train/good/rgb").glob("*.png"))[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:50])
    words = (
        *("hydra.mode=MULTIRUN", "seed=0", "data=mvtec3d", "backbone=tiny", f"data.root={root}"),
        *("data.category=all", "method.stages={perturb:false,rectify:false,cross_domain:false}"),
    )
    code, said = command(*words, small=small_on_disk)
    sweep = multirun(tmp_path)
    assert code == 1
    assert f"run what is missing with resume={sweep.relative_to(tmp_path)}" in said
    assert finished_in(sweep / "0") is None

    victim.write_bytes(whole)
    code, said = command(*words, f"resume={sweep}", small=small_on_disk)
    assert code == 0, said
    result = finished_in(sweep / "0")
    assert result is not None
    assert list(result.categories) == ["knob", "tile"]


def test_a_run_is_finished_when_all_its_categories_are(finished, tmp_path):
    assert finished_in(finished).categories["tile"].n_source == 4
    killed = Path(shutil.copytree(finished, tmp_path / "killed"))
    (killed / "table.md").unlink()  # result.json is written after every category
    assert finished_in(killed) is None


def asking(folder, **settings):
    """Make a run's settings ask for more."""
    path = folder / "result.json"
    result = json.loads(path.read_text())
    result["config"] |= settings
    path.write_text(json.dumps(result))


def test_a_run_without_what_its_settings_ask_for_is_not_finished(finished, tmp_path):
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    for name, file in (("report", "report.html"), ("export", "categories/tile/model.onnx")):
        asking(folder, **{name: True})
        assert finished_in(folder) is None
        (folder / file).touch()
        assert finished_in(folder) is not None
    shutil.rmtree(folder / "maps")
    assert finished_in(folder) is None
    asking(folder, maps=False)
    assert finished_in(folder) is not None
    result = json.loads((folder / "result.json").read_text())
    result["categories"]["tile"]["threshold"] = None
    (folder / "result.json").write_text(json.dumps(result))
    assert finished_in(folder) is None
    asking(folder, threshold=False)
    assert finished_in(folder) is not None


@pytest.mark.parametrize("change", [{"failed": {"tile": "why"}}, {"schema": 0}, {"mean": None}])
def test_a_failed_or_spoiled_result_is_not_finished(finished, tmp_path, change):
    shutil.copy(finished / "table.md", tmp_path)
    result = json.loads((finished / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps(result | change))
    assert finished_in(tmp_path) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resume=newest"], "resume: expected an earlier multirun with sweep=None below"),
        (["resume=odd"], "resume: expected a sweep's folder with multirun.yaml, got 'odd'"),
        (["hydra/launcher=ray"], "hydra/launcher=ray: expected the package hydra-ray-launcher"),
    ],
)
def test_a_sweep_that_cannot_start_is_one_line_and_leaves_nothing(
    command, tmp_path, monkeypatch, words, message
):
    monkeypatch.setattr(Plugins.instance(), "discover", known_launchers)
    code, said = command(*AXES, *words)
    assert code == 1
    assert said.startswith(message)
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def known_launchers(kind):
    """The launchers that Hydra has without any package."""
    return [each for each in discover(kind) if each.__module__.startswith("hydra._internal")]


def test_a_bug_in_a_job_leaves_its_traceback_in_the_jobs_own_log(command, tmp_path, monkeypatch):
    def run(_):
        raise ZeroDivisionError

    monkeypatch.setattr("train.run", run)
    with pytest.raises(ZeroDivisionError):
        command("hydra.mode=MULTIRUN", "seed=0,1", small=())
    for job in "01":
        assert "ZeroDivisionError" in (multirun(tmp_path) / job / "train.log").read_text()
