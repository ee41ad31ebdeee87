"""What one run computed another does not compute again, and no number changes by it."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from outcome import numbers
from PIL import Image

from fsad.engine.bank_builder import MemoryBankBuilder
from fsad.errors import ConfigError
from fsad.nn.extractor import PatchExtractor

ROOT = Path(__file__).parents[2]
CATEGORY = "categories/tile"


@pytest.fixture
def own(tmp_path, cache):
    """Overrides that turn the cache on, in a folder of the test's own."""
    generated = f"data.root={cache}/synthetic"  # written once for all tests
    return ("cache=default", f"paths.cache_dir={tmp_path / 'own'}", generated, "maps=false")


@pytest.fixture(scope="module")
def filled(run, cache, tmp_path_factory):
    """A folder with a run and, in ``own``, the cache as it has left it."""
    folder = tmp_path_factory.mktemp("filled")
    words = ("cache=default", f"paths.cache_dir={folder / 'own'}", "maps=false")
    run(folder / "run", *words, f"data.root={cache}/synthetic")
    return folder


@pytest.fixture
def computed(monkeypatch):
    """Count optimiser steps, banks built and images through the backbone."""
    seen = {"steps": 0, "banks": 0, "images": 0}

    def count(owner, name, what, amount=lambda *_: 1):
        original = getattr(owner, name)

        def counting(self, *args, **kwargs):
            seen[what] += amount(*args)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(torch.optim.Adam, "step", "steps")
    count(MemoryBankBuilder, "_build", "banks")
    count(PatchExtractor, "prefix", "images", lambda images, *_: len(images))
    return seen


def entry(folder):
    return json.loads((folder / "result.json").read_text())["categories"]["tile"]


def test_cache_on_and_off_give_the_same_result(filled, finished, run, tmp_path, own):
    shutil.copytree(filled / "own", tmp_path / "own")
    assert numbers(filled / "run") == numbers(finished)
    assert numbers(run(tmp_path / "second", *own)) == numbers(finished)


def test_the_same_run_again_computes_nothing_and_has_all_its_files(run, tmp_path, own, computed):
    first = run(tmp_path / "first", *own)
    assert computed == {"steps": 3 * 2 + 12, "banks": 1, "images": 4 + 2 + 6}
    second = run(tmp_path / "second", *own)
    assert computed == {"steps": 3 * 2 + 12, "banks": 1, "images": 4 + 2 + 6}
    assert entry(first)["reused"] == []
    assert entry(second)["reused"] == ["perturb", "rectify", "banks", "test"]
    assert entry(second)["backbone_seconds"] == 0
    names = {path.name for path in (first / CATEGORY).iterdir()}
    assert {path.name for path in (second / CATEGORY).iterdir()} == names
    assert entry(second)["seconds"]["perturb"] == entry(first)["seconds"]["perturb"]


@pytest.mark.parametrize(
    ("change", "reused"),
    [
        ("method.beta=0.2", ["perturb", "rectify", "banks", "test"]),
        ("method.sigma=2.0", ["perturb", "rectify", "banks", "test"]),
        ("method.rectify_banks=false", ["perturb", "rectify", "banks"]),
        ("method.alpha=0.5", ["perturb", "banks"]),
        ("method.banks.source_ratio=0.2", ["perturb"]),
        ("data.shots=1", ["perturb"]),
        ("method.perturb.std=0.5", []),
        ("data.batch_size=1", []),
        ("backbone.normalize_depth=false", []),
        ("+trainer.gradient_clip_val=0.001", []),
        ("method.stages.rectify=false", ["perturb", "banks"]),
        ("seed=1", []),
    ],
)
def test_a_change_computes_again_what_depends_on_it_and_equals_a_run_of_its_own(
    filled, run, tmp_path, own, change, reused
):
    shutil.copytree(filled / "own", tmp_path / "own")
    ours = run(tmp_path / "ours", *own, change)
    alone = run(tmp_path / "alone", "maps=false", change)
    assert numbers(ours) == numbers(alone)
    assert entry(ours)["reused"] == reused


def test_banks_are_shared_between_alphas(run, tmp_path, own, computed):
    for alpha in (0.1, 0.2, 0.3):
        run(tmp_path / str(alpha), *own, f"method.alpha={alpha}")
    assert computed["banks"] == 1
    assert computed["images"] == 4 + 2 + 6


def test_test_images_are_encoded_once_per_state_of_the_encoder(run, tmp_path, own, computed):
    plain = "method.stages={perturb:false,rectify:false,cross_domain:true}"
    run(tmp_path / "one", *own, plain, "data.shots=1")
    before = computed["images"]
    run(tmp_path / "two", *own, plain, "data.shots=2")
    assert computed["images"] == before + 1  # the second shot
    run(tmp_path / "seed", *own, plain, "data.shots=2", "seed=1")
    assert computed["images"] <= before + 1 + 2  # its shots, unless they were drawn before


def test_a_changed_image_is_seen_whatever_its_name(run, tmp_path, own, cache):
    copy = tmp_path / "data"
    shutil.copytree(cache / "synthetic", copy)
    words = (*own, f"data.root={copy}")
    run(tmp_path / "before", *words)
    image = next(copy.glob("**/tile/train/good/rgb/*.png"))
    Image.open(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
    again = run(tmp_path / "again", *words)
    assert entry(again)["reused"] == []


def test_scores_of_a_method_without_stages_are_shared_from_the_first_run_on(run, tmp_path, own):
    plain = "method.stages={perturb:false,rectify:false,cross_domain:true}"
    run(tmp_path / "first", *own, plain)
    assert entry(run(tmp_path / "second", *own, plain))["reused"] == ["banks", "test"]


@pytest.mark.parametrize("how", ["ckpt", "resume"])
def test_what_rests_on_files_of_unknown_origin_is_not_shared(finished, run, tmp_path, own, how):
    # It was made without the cache, so perhaps by other code.
    old = shutil.copytree(finished, tmp_path / "old")
    stored = tmp_path / "own/tensors"
    if how == "ckpt":
        run(tmp_path / "again", f"ckpt={old}", *own[:2])
    else:
        (old / CATEGORY / "category.json").unlink()
        (old / CATEGORY / "patch_scores.safetensors").unlink()
        (old / CATEGORY / "rectify.safetensors").unlink()
        run(old, f"resume={old}", f"paths.cache_dir={tmp_path / 'own'}", "cache.max_gb=20")
    assert entry(run(tmp_path / "new", *own))["reused"] == []
    assert stored.exists()


def test_damaged_entries_are_computed_again(filled, finished, run, tmp_path, own):
    shutil.copytree(filled / "own", tmp_path / "own")
    for file in (tmp_path / "own/tensors").glob("??/*.safetensors"):
        content = bytearray(file.read_bytes())
        content[-3] ^= 16
        file.write_bytes(content)
    again = run(tmp_path / "again", *own)
    assert numbers(again) == numbers(finished)
    assert entry(again)["reused"] == []


@pytest.mark.parametrize("lost", ["banks", "patch_scores"])
def test_what_was_evicted_is_computed_again(finished, run, tmp_path, own, lost):
    first = run(tmp_path / "first", *own)
    inode = (first / CATEGORY / f"{lost}.safetensors").stat().st_ino
    for file in (tmp_path / "own/tensors").glob("??/*.safetensors"):
        if file.stat().st_ino == inode:
            file.unlink()
    again = run(tmp_path / "again", *own)
    assert numbers(again) == numbers(finished)
    assert (again / CATEGORY / "banks.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("at", [2, 9], ids=["a feature", "a later one"])
def test_a_run_killed_while_it_writes_to_the_cache_is_followed_by_a_correct_one(
    finished, run, small, tmp_path, own, at
):
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal, sys\n"
        "import fsad.storage.tensors\n"
        "whole, count = fsad.storage.tensors.save_file, 0\n"
        "def half(tensors, path, **words):\n"
        "    global count\n"
        "    count += 1\n"
        "    whole(tensors, path, **words)\n"
        f"    if count == {at}:\n"
        "        os.truncate(path, os.path.getsize(path) // 2)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "fsad.storage.tensors.save_file = half\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "import train\n"
        "train.command()\n"
    )
    words = [*small, *own, f"paths.output_dir={tmp_path / 'killed'}"]
    done = subprocess.run(
        [sys.executable, str(script), *words],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert list((tmp_path / "own/tensors").glob("??/.*")), "nothing half written is left"
    assert numbers(run(tmp_path / "after", *own)) == numbers(finished)
    assert numbers(run(tmp_path / "killed", f"resume={tmp_path / 'killed'}")) == numbers(finished)


def test_a_negative_size_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match=r"cache\.max_gb: expected a number of at least 0"):
        run(tmp_path, "cache.max_gb=-1")
