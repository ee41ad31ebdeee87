"""A file that several runs need is made by one of them."""

import subprocess
import sys
import time

import pytest
import torch

from fsad.storage.memo import Memo
from fsad.storage.tensor_store import TensorStore, digest
from fsad.storage.tensors import read_tensors, write_tensors

KEY = digest("a key")
ONES = {"x": torch.ones(3)}


def make(memo, tensors=ONES):
    """Make the file unless it is there, and tell whether that was needed."""
    with memo.making() as needed:
        if needed:
            write_tensors(memo.path, tensors)
    return needed


def test_without_a_store_every_run_makes_its_own(tmp_path):
    assert make(Memo(tmp_path / "a"))
    assert make(Memo(tmp_path / "b"))
    assert not make(Memo(tmp_path / "a"))


def test_a_second_run_takes_what_the_first_made(tmp_path):
    store = TensorStore(tmp_path / "store")
    assert make(Memo(tmp_path / "a", store, KEY))
    assert not make(Memo(tmp_path / "b", store, KEY))
    assert torch.equal(read_tensors(tmp_path / "b")[0]["x"], ONES["x"])
    assert make(Memo(tmp_path / "c", store, digest("another key")))


def test_a_file_of_the_run_goes_before_the_stores(tmp_path):
    store = TensorStore(tmp_path / "store")
    make(Memo(tmp_path / "a", store, KEY))
    write_tensors(tmp_path / "own", {"x": torch.zeros(3)})
    assert not make(Memo(tmp_path / "own", store, KEY))
    assert not read_tensors(tmp_path / "own")[0]["x"].any()


def test_a_failed_attempt_leaves_nothing_and_lets_the_next_one_try(tmp_path):
    memo = Memo(tmp_path / "a", TensorStore(tmp_path / "store"), KEY)
    with pytest.raises(RuntimeError, match="no luck"), memo.making():
        raise RuntimeError("no luck")
    assert not memo.is_there()
    assert make(memo)
    assert memo.is_there()


def test_being_there_takes_another_runs_file(tmp_path):
    store = TensorStore(tmp_path / "store")
    ours = Memo(tmp_path / "b", store, KEY)
    assert not ours.is_there()
    make(Memo(tmp_path / "a", store, KEY))
    assert ours.is_there()
    assert ours.path.exists()


SLOW = """
import sys, time, torch
from pathlib import Path
from fsad.storage.tensors import write_tensors
from fsad.storage.memo import Memo
from fsad.storage.tensor_store import TensorStore, digest
folder = Path(sys.argv[1])
memo = Memo(folder / sys.argv[2], TensorStore(folder / "store"), digest("a key"))
with memo.making() as needed:
    if needed:
        (folder / "started").touch()
        time.sleep(1)
        write_tensors(memo.path, {"x": torch.ones(3)})
print(needed)
"""


def test_of_two_runs_at_once_one_makes_and_the_other_waits(tmp_path):
    command = [sys.executable, "-c", SLOW, str(tmp_path)]
    first = subprocess.Popen([*command, "a"], stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "started").exists():
        time.sleep(0.01)
    second = subprocess.run([*command, "b"], stdout=subprocess.PIPE, text=True, check=True)
    assert (first.communicate()[0].strip(), second.stdout.strip()) == ("True", "False")
    assert torch.equal(read_tensors(tmp_path / "b")[0]["x"], torch.ones(3))
