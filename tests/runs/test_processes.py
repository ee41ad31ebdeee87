"""Several processes share a run out, and it yields what one process would."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from outcome import numbers
from safetensors.torch import load_file
from small_runs import ROOT, SMALL

from fsad.errors import ConfigError, RunError
from fsad.runtime.launch import spawn_workers
from fsad.runtime.processes import broadcast_from_first, gather, is_rank_zero, share

TWO = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")


def in_one_of(part, rows):
    """What every process of the test below does."""
    number, _ = share()
    gathered = gather(torch.arange(number * 10, number * 10 + part[number]), rows)
    said = broadcast_from_first(f"process {number}")
    assert said == "process 0"
    assert (gathered is None) == (number > 0)
    return gathered


def other_process(arguments):
    in_one_of(*arguments)


def failing_process(_):
    raise ConfigError("the other: expected nothing, got all of it")


@pytest.mark.slow
def test_processes_agree_and_the_first_gets_every_row_once():
    arguments = ([2, 3, 0], 3)
    with spawn_workers(3, "gloo", other_process, arguments):
        parts = in_one_of(*arguments)
        assert is_rank_zero()
    assert [part.tolist() for part in parts] == [[0, 1], [10, 11, 12], []]
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_what_stopped_another_process_is_told():
    message = r"another process: the other: expected nothing, got all of it"
    with pytest.raises(RunError, match=message), spawn_workers(2, "gloo", failing_process, None):
        gather(torch.ones(1), 1)


def killed_process(_):
    if os.environ["LOCAL_RANK"] == "2":
        os.kill(os.getpid(), signal.SIGKILL)
    gather(torch.ones(1), 1)


@pytest.mark.slow
def test_a_killed_process_is_told_and_not_what_others_say_of_its_silence():
    message = (
        r"trainer\.devices: expected process 2 of 0 to 2 to go on, got it killed by SIGKILL\. The "
        r"system kills where memory runs out: take fewer processes\. Go on with resume=RUN_DIR\."
    )
    with pytest.raises(RunError, match=message), spawn_workers(3, "gloo", killed_process, None):
        gather(torch.ones(1), 1)


def killed_at_its_end(_):
    gather(torch.ones(1), 1)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_process_killed_behind_its_last_word_is_told_too():
    with (
        pytest.raises(RunError, match="process 1 of 0 to 1 to go on, got it killed by SIGKILL"),
        spawn_workers(2, "gloo", killed_at_its_end, None),
    ):
        gather(torch.ones(1), 1)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_one_process_of_which_is_killed_ends_with_one_line_and_leaves_none_behind(
    rank, tmp_path
):
    killer = f"callbacks.killer={{_target_: killer.Killer, folder: {tmp_path}, rank: {rank}}}"
    words = [*SMALL, "cache=none", "method=patchcore", *TWO, f"+{killer}"]
    words = [word for word in words if not word.startswith("method.")]
    paths = [f"paths.{name}={tmp_path / name}" for name in ("output_dir", "cache_dir")]
    places = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, "train.py", *words, *paths, f"hydra.run.dir={tmp_path}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": places},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if rank == 0:
        assert done.returncode == -signal.SIGKILL
    else:
        assert done.returncode == 1
        assert done.stderr.strip().splitlines()[-1].startswith("trainer.devices: expected process")
    assert "Traceback" not in done.stderr
    assert "terminate" not in done.stderr
    pids = [int(file.name) for file in (tmp_path / "pids").iterdir()]
    assert len(pids) == 2
    end = time.monotonic() + 30
    while any(map(is_there, pids)):
        assert time.monotonic() < end, "a process stays for ever"
        time.sleep(0.05)


def is_there(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_one_process_needs_no_others():
    with spawn_workers(1, "gloo", failing_process, None):
        assert share() == (0, 1)
        assert broadcast_from_first("word") == "word"
        assert torch.equal(gather(torch.ones(2), 2)[0], torch.ones(2))
        assert is_rank_zero()


@pytest.mark.slow
def test_two_processes_yield_what_one_does_category_after_category(run, tmp_path, monkeypatch):
    monkeypatch.setattr("fsad.run.job.write_page", lambda _: None)  # what it is drawn from is kept
    words = ("data.category=all", "report=true")
    one, two = run(tmp_path / "one", *words), run(tmp_path / "two", *words, *TWO)
    assert numbers(two) == numbers(one)
    assert list(numbers(two)[0]) == ["knob", "tile"]
    assert (two / "scores.csv").read_bytes() == (one / "scores.csv").read_bytes()
    for category in ("knob", "tile"):
        ours, theirs = (it / "categories" / category for it in (two, one))
        assert (ours / "scores.csv").read_bytes() == (theirs / "scores.csv").read_bytes()
        for name in ("perturb", "banks", "rectify", "patch_scores", "embeddings"):
            left, right = (load_file(it / f"{name}.safetensors") for it in (ours, theirs))
            assert all(torch.equal(left[key], right[key]) for key in right), name
        assert len(list((two / "maps" / category).glob("*.png"))) == 6
    assert [it.name for it in (two / "logs").iterdir()] == ["version_0"]


@pytest.mark.slow
def test_more_processes_than_test_batches_share_what_there_is(run, tmp_path):
    words = ("data.batch_size=6", "method.stages.perturb=false", "maps=false")
    alone, three = run(tmp_path / "1", *words), run(tmp_path / "3", *words, "trainer.devices=3")
    assert numbers(three) == numbers(alone)
    assert json.loads((three / "result.json").read_text())["config"]["trainer"]["devices"] == 3


@pytest.mark.slow
def test_two_processes_with_reading_workers_and_a_cache_yield_what_one_does(
    finished, run, tmp_path, cache
):
    words = ("cache=default", f"paths.cache_dir={tmp_path}", f"data.root={cache}/synthetic")
    folder = run(tmp_path / "run", *TWO, *words, "data.workers=1", "maps=false")
    assert numbers(folder) == numbers(finished)
    again = run(tmp_path / "again", *words, "maps=false")
    assert numbers(again) == numbers(finished)


def test_another_strategy_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match=r"trainer\.strategy: expected one of auto, ddp, got"):
        run(tmp_path, "trainer.strategy=fsdp")


@pytest.mark.parametrize("devices", [0, -1, "two", "auto"])
def test_a_number_of_devices_that_is_none_is_refused(run, tmp_path, devices):
    with pytest.raises(ConfigError, match=r"trainer\.devices: expected a whole number"):
        run(tmp_path, f"trainer.devices={devices}")
