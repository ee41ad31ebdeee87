"""Jobs that run at the same time and share one cache end as jobs that run alone without one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from outcome import numbers
from safetensors.torch import load_file

from fsad.storage.tensors import read_tensors

ROOT = Path(__file__).parents[2]
ALPHAS = ("0.1", "0.7")
JOBLIB = ("hydra.mode=MULTIRUN", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.fixture(scope="module")
def shared(small, tmp_path_factory):
    """A sweep of two jobs in two processes of joblib's, and the cache that they fill together."""
    folder = tmp_path_factory.mktemp("side_by_side")
    program = [sys.executable, str(ROOT / "train.py"), *small, *JOBLIB, "maps=false"]
    own = (f"hydra.sweep.dir={folder / 'sweep'}", f"paths.cache_dir={folder / 'cache'}")
    meeting = folder / "meeting"
    meeting.mkdir()
    together = f"+callbacks.meeting={{_target_:meeting.Meeting,folder:{meeting},count:2}}"
    done = subprocess.run(
        [*program, *own, together, f"method.alpha={','.join(ALPHAS)}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "n_jobs=2" in done.stdout
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("job", [0, 1])
def test_each_job_ends_as_one_of_its_own_without_a_cache(shared, run, tmp_path, job):
    ours = shared / f"sweep/{job}"
    alone = run(tmp_path, f"method.alpha={ALPHAS[job]}", "maps=false")
    assert numbers(ours) == numbers(alone)
    assert (ours / "scores.csv").read_bytes() == (alone / "scores.csv").read_bytes()
    for name in ("perturb", "banks", "rectify", "patch_scores"):
        left, right = (
            load_file(it / f"categories/tile/{name}.safetensors") for it in (ours, alone)
        )
        assert left.keys() == right.keys()
        assert all(left[key].equal(right[key]) for key in right), name


@pytest.mark.slow
def test_what_both_need_one_makes_while_the_other_waits(shared):
    folders = [shared / f"sweep/{job}/categories/tile" for job in (0, 1)]
    for name in ("perturb", "banks"):  # each file holds the seconds that it took
        first, second = ((each / f"{name}.safetensors").read_bytes() for each in folders)
        assert first == second, name
    reused = [json.loads((each / "category.json").read_text())["reused"] for each in folders]
    assert sum("perturb" in each for each in reused) == 1


@pytest.mark.slow
def test_every_entry_is_whole_and_no_lock_is_held(shared):
    stored = shared / "cache/tensors"
    assert not list((shared / "cache").rglob(".*"))  # half-written files have such names
    entries, locks = list(stored.glob("??/*")), list((stored / "locks").iterdir())
    assert entries
    assert locks
    for entry in entries:
        read_tensors(entry, checksum_required=True)
    for lock in locks:
        with FileLock(lock, timeout=0):
            pass
