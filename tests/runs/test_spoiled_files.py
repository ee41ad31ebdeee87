"""Every file of a run that is spoiled is named, with what to delete."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from fsad.errors import DataError
from fsad.predict.from_run import load_run
from fsad.report.scores import read_scores
from fsad.results.record import read_result

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


def of_an_earlier_version(folder):
    """Take the digests out of a run, as those of earlier versions have none."""
    for name in ("category.json", "threshold.json"):
        path = folder / CATEGORY / name
        record = json.loads(path.read_text())
        for key in ("digest", "scores_digest"):
            record.pop(key, None)
        path.write_text(json.dumps(record))


def with_another_digit(path):
    """Change the last digit of a file that another can replace without a trace."""
    text = path.read_text()
    place = max(text.rfind(digit) for digit in "2345678")
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])


def another_number(path):
    """Change a digit of a record's first score."""
    text = path.read_text()
    path.write_text(
        re.sub(r"(\d\.\d\d)(\d)", lambda it: it[1] + str((int(it[2]) + 1) % 10), text, count=1)
    )


def without_last_row(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def same_scores(left, right):
    names = ("scores.csv", f"{CATEGORY}/scores.csv")
    return all((left / name).read_bytes() == (right / name).read_bytes() for name in names)


@pytest.mark.parametrize("spoil", [with_another_digit, without_last_row, cut])
def test_damaged_scores_of_a_category_are_written_anew(finished, run, tmp_path, caplog, spoil):
    copy = shutil.copytree(finished, tmp_path / "run")
    spoil(copy / CATEGORY / "scores.csv")
    caplog.set_level("INFO")
    run(copy, f"resume={copy}")
    assert "tile: not finished (no scores.csv as it was written); continuing" in caplog.text
    assert same_scores(copy, finished)


@pytest.mark.parametrize("spoil", [with_another_digit, without_last_row])
def test_damaged_scores_of_a_run_are_refused_by_the_report(finished, run, tmp_path, spoil):
    copy = shutil.copytree(finished, tmp_path / "run")
    result = read_result(copy / "result.json")
    assert read_scores(result, "tile").images
    spoil(copy / "scores.csv")
    with pytest.raises(
        DataError, match=r"scores\.csv: expected the scores of tile as they were written, got"
    ):
        read_scores(result, "tile")
    run(copy, f"resume={copy}")
    assert same_scores(copy, finished)
    assert read_scores(result, "tile").images


def test_another_digit_in_the_record_is_refused_by_resume_report_and_predict(
    finished, run, tmp_path
):
    copy = shutil.copytree(finished, tmp_path / "run")
    another_number(copy / CATEGORY / "category.json")
    message = (
        r"category\.json: expected a finished category's result, got a file that cannot be read "
        r"\(values that were changed or damaged since it was written\)\."
    )
    with pytest.raises(DataError, match=f"{message} Delete it"):
        run(copy, f"resume={copy}")
    with pytest.raises(DataError, match=f"{message} Copy the whole folder"):
        read_scores(read_result(copy / "result.json"), "tile")
    with pytest.raises(DataError, match=rf"{message} .* python train\.py resume={copy}"):
        load_run(copy)
    (copy / CATEGORY / "category.json").unlink()  # as the message says
    run(copy, f"resume={copy}")
    load_run(copy)
    assert same_scores(copy, finished)


def test_another_digit_in_the_threshold_is_refused_by_predict_and_mended_by_resume(
    finished, run, tmp_path, caplog
):
    copy = shutil.copytree(finished, tmp_path / "run")
    path = copy / CATEGORY / "threshold.json"
    another_number(path)
    with pytest.raises(
        DataError,
        match=r"threshold\.json: .* changed or damaged .* delete this file and go without",
    ):
        load_run(copy)
    caplog.set_level("INFO")
    run(copy, f"resume={copy}")
    assert "(no threshold.json as it was written); continuing" in caplog.text
    assert load_run(copy).limits == load_run(finished).limits


def test_a_run_of_an_earlier_version_has_no_digests_and_works(finished, run, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "run")
    of_an_earlier_version(copy)
    assert load_run(copy).limits == load_run(finished).limits
    assert read_scores(read_result(copy / "result.json"), "tile").images
    run(copy, f"resume={copy}")
    assert same_scores(copy, finished)
    assert "digest" not in json.loads((copy / CATEGORY / "category.json").read_text())


def test_a_record_may_be_laid_out_otherwise(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "run")
    for name in ("category.json", "threshold.json"):
        path = copy / CATEGORY / name
        path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert load_run(copy).limits == load_run(finished).limits


def test_spoiled_scores_of_an_earlier_version_are_named(finished, run, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "run")
    of_an_earlier_version(copy)
    (copy / CATEGORY / "scores.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        DataError, match=r"scores\.csv: expected the scores.* Delete category\.json"
    ):
        run(copy, f"resume={copy}")


def test_ckpt_names_a_category_that_the_run_did_not_have(finished, run, tmp_path):
    from fsad.errors import RunError

    message = (
        r"ckpt: expected a finished category in '.*knob', got none\. .* "
        rf"finish it first: python train\.py resume={re.escape(str(finished))}$"
    )
    with pytest.raises(RunError, match=message):
        run(tmp_path, f"ckpt={finished}", "data.category=knob")
