"""Every file of a run that is spoiled is named, with what to delete."""

import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from fsad.errors import DataError

CATEGORY = "categories/tile"


@pytest.fixture
def unfinished(finished, tmp_path):
    """A copy of the finished run whose category is not done yet."""
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    (copy / CATEGORY / "category.json").unlink()
    return copy


def cut(path):
    path.write_bytes(path.read_bytes()[:40])


def other_tensors(path):
    stored = load_file(path)
    save_file(
        {"odd": torch.zeros(2)},
        path,
        metadata={"fsad": _metadata(path), "seconds": "1"},
    )
    assert stored


def _metadata(path):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get("fsad", "")


def spoil_banks(change):
    def spoil(path):
        tensors = load_file(path)
        tensors["source.features"] = change(tensors["source.features"])
        save_file(tensors, path, metadata={"seconds": "1"})

    return spoil


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("perturb.safetensors", cut, "expected a stage's weights, got a file that cannot be read"),
        ("rectify.safetensors", other_tensors, "expected the weights of stage 'rectify'"),
        ("banks.safetensors", cut, "expected the banks of a run, got a file that cannot be read"),
        (
            "banks.safetensors",
            spoil_banks(lambda rows: rows[:, :5].contiguous()),
            "expected source features of 24 channels",
        ),
        (
            "banks.safetensors",
            spoil_banks(lambda rows: rows * float("nan")),
            "expected finite source features",
        ),
    ],
)
def test_a_spoiled_file_of_an_unfinished_category_is_named(unfinished, run, name, spoil, message):
    spoil(unfinished / CATEGORY / name)
    with pytest.raises(DataError, match=rf"{name}: {message}.* Delete it"):
        run(unfinished, f"resume={unfinished}")


@pytest.mark.parametrize("content", [b"", b"PK half a zip"])
def test_a_half_written_checkpoint_is_named(unfinished, run, content):
    (unfinished / CATEGORY / "rectify.safetensors").unlink()
    (unfinished / CATEGORY / "rectify.ckpt").write_bytes(content)
    with pytest.raises(
        DataError, match=r"rectify\.ckpt: expected a stage's checkpoint.* Delete it"
    ):
        run(unfinished, f"resume={unfinished}")


@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_a_spoiled_record_of_a_finished_category_is_named(unfinished, run, content):
    (unfinished / CATEGORY / "category.json").write_text(content)
    with pytest.raises(
        DataError, match=r"category\.json: expected a finished category.* Delete it"
    ):
        run(unfinished, f"resume={unfinished}")


def test_spoiled_scores_of_a_finished_category_are_named(finished, run, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "run")
    (copy / CATEGORY / "scores.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        DataError, match=r"scores\.csv: expected the scores.* Delete category\.json"
    ):
        run(copy, f"resume={copy}")


def test_ckpt_names_a_category_that_the_run_did_not_have(finished, run, tmp_path):
    from fsad.errors import RunError

    message = (
        r"ckpt: expected a finished category in '.*knob', got one without banks\. .* "
        rf"finish it first: python train\.py resume={re.escape(str(finished))}$"
    )
    with pytest.raises(RunError, match=message):
        run(tmp_path, f"ckpt={finished}", "data.category=knob")
