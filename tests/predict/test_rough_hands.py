"""Predictions of files as rough hands leave them: names, pipes, full disks, overwritten images."""

import csv
import errno
import io
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fsad.predict.outputs as outputs_module
from fsad.cli import app
from fsad.data.depth_file import SUFFIXES
from fsad.data.input import DepthInput
from fsad.errors import DataError, OutputError
from fsad.predict.images import state_of, time_of
from fsad.predict.loop import Summary, predict_files
from fsad.predict.outputs import COLUMNS, TABLE, Outputs, base_of
from fsad.predict.predictor import Predictor
from fsad.predict.scorer import Limits, Scored
from fsad.predict.watch import arriving

HEAD = ",".join(COLUMNS) + "\n"


class Brightest:
    """Scores an image by its largest depth; needs no torch."""

    image_size = 16

    def score(self, images):
        maps = images[:, 0]
        return Scored(maps.mean(axis=(1, 2)), {}, maps)


@pytest.fixture
def predictor():
    return Predictor(Brightest(), Limits(0.5, 0.8, 1 / 3, "as told"), DepthInput(16))


class Several(Brightest):
    """Its score has these parts."""

    def __init__(self, *names):
        self.names = names

    def score(self, images):
        scored = super().score(images)
        parts = {name: scored.score + place for place, name in enumerate(self.names)}
        return scored._replace(parts=parts)


def scoring(*names):
    return Predictor(Several(*names), Limits(0.5), DepthInput(16))


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    save(images / "a.npy", 0)
    save(images / "b.npy", 1)
    return images


def save(path, seed):
    with path.open("wb") as file:  # np.save puts .npy behind a name
        np.save(file, np.random.default_rng(seed).uniform(0.4, 0.9, (9, 11)).astype(np.float32))


def rows(out):
    return list(csv.DictReader(io.StringIO((out / TABLE).read_text())))


def predict(predictor, folder, out, **options):
    said = []
    files = sorted(folder.iterdir())
    summary = predict_files(predictor, files, Outputs(out, folder, **options), said.append)
    return summary, said


def test_a_name_that_is_no_utf8_is_named_and_skipped_and_the_others_go_on(
    predictor, folder, tmp_path
):
    bad = folder / os.fsdecode(b"aa-\xe4.npy")
    save(bad, 2)
    summary, said = predict(predictor, folder, tmp_path / "out")
    assert len(summary.seconds) == 2
    assert [Path(row["path"]).name for row in rows(tmp_path / "out")] == ["a.npy", "b.npy"]
    assert said == summary.failed
    assert said[0].startswith(rf"{folder}/aa-\xe4.npy: expected a name in UTF-8, got e4")


@pytest.mark.parametrize("length", [251, 255])
def test_a_name_without_room_for_its_pictures_is_named_and_skipped(
    predictor, folder, tmp_path, length
):
    name = "aa" + "x" * (length - 6) + ".npy"
    save(folder / name, 2)
    summary, said = predict(predictor, folder, tmp_path / "out")
    assert len(summary.seconds) == 2
    assert f"{name}: expected a name that has room for .json behind it in" in said[0]
    assert f"got one of {length} bytes. Rename it, or pass --no-maps." in said[0]
    summary, said = predict(predictor, folder, tmp_path / "table", pictures=False)
    assert len(summary.seconds) == 3  # the table has room


def test_a_name_just_short_enough_is_predicted_on_with_its_pictures(predictor, folder, tmp_path):
    name = "x" * 246 + ".npy"
    save(folder / name, 2)
    summary, said = predict(predictor, folder, tmp_path / "out")
    assert (len(summary.seconds), said) == (3, [])
    assert (tmp_path / "out" / "outlines" / f"{name}.json").exists()


def test_the_command_names_odd_files_goes_on_and_ends_with_1(finished, folder, tmp_path):
    save(folder / os.fsdecode(b"\xff\xfe.npy"), 2)
    save(folder / ("y" * 251 + ".npy"), 2)
    (folder / "line\nbreak.npy").write_text("no image")
    os.mkfifo(tmp_path / "pipe.npy")
    words = ["predict", finished, folder, tmp_path / "pipe.npy", "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 1
    assert "2 images predicted" in result.stdout
    assert "4 could not be read" in result.stdout
    errors = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 4
    assert r"line\nbreak.npy: expected a .npy file" in result.stderr
    assert "pipe.npy: expected a regular file, got a named pipe" in result.stderr
    assert len(rows(tmp_path / "out")) == 2


def test_a_folder_whose_own_name_is_no_utf8_can_be_written_to(finished, folder, tmp_path):
    out = tmp_path / os.fsdecode(b"out-\xff")
    code = "import sys; from fsad.cli import main; main()"
    words = [sys.executable, "-c", code, "predict", finished, folder, "--out", out]
    done = subprocess.run(words, capture_output=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert rb"wrote " in done.stdout
    assert len(rows(out)) == 2


@pytest.mark.parametrize("cut", [1, 5, 40, 150])
def test_an_unfinished_last_row_is_cut_back_and_its_image_predicted_on_again(
    predictor, folder, tmp_path, cut
):
    predict(predictor, folder, tmp_path / "out", pictures=False)
    table = tmp_path / "out" / TABLE
    whole = table.read_bytes()
    table.write_bytes(whole[:-cut])
    outputs = Outputs(tmp_path / "out", folder, pictures=False, go_on=True)
    waiting = [path for path in sorted(folder.iterdir()) if str(path) not in outputs.done]
    assert folder / "b.npy" in waiting
    predict_files(predictor, waiting, outputs, print)
    assert table.read_bytes() == whole


def test_a_row_cut_short_behind_a_line_break_in_a_name_is_cut_back_whole(
    predictor, folder, tmp_path
):
    save(folder / 'c"\n,d.npy', 2)
    predict(predictor, folder, tmp_path / "out", pictures=False)
    table = tmp_path / "out" / TABLE
    whole = table.read_bytes()
    table.write_bytes(whole[: whole.rindex(b",d.npy")])  # the line break inside the name is last
    outputs = Outputs(tmp_path / "out", folder, go_on=True)
    assert set(map(os.path.basename, outputs.done)) == {"a.npy", "b.npy"}
    assert table.read_bytes() == whole[: whole.index(f'"{folder}/c'.encode())]


@pytest.mark.parametrize("left", ["", "pa", HEAD[:-1]])
def test_a_table_cut_short_in_its_first_line_begins_anew(folder, tmp_path, left):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / TABLE).write_text(left)
    assert Outputs(tmp_path / "out", folder, go_on=True).done == {}
    assert (tmp_path / "out" / TABLE).read_text() == HEAD


def test_of_a_file_that_is_no_such_table_nothing_is_cut(folder, tmp_path):
    (tmp_path / "out").mkdir()
    for content in ("notes of mine", "a,b\n1,2", HEAD + "a,b\n"):
        (tmp_path / "out" / TABLE).write_text(content)
        with pytest.raises(DataError, match="expected predictions to go on with"):
            Outputs(tmp_path / "out", folder, go_on=True)
        assert (tmp_path / "out" / TABLE).read_text() == content


def test_a_table_that_is_a_pipe_is_not_waited_for(folder, tmp_path):
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / TABLE)
    with pytest.raises(
        DataError, match="expected predictions to go on with, got a file that cannot"
    ):
        Outputs(tmp_path / "out", folder, go_on=True)


def test_a_disk_that_fills_up_within_a_row_leaves_whole_rows(
    predictor, folder, tmp_path, monkeypatch
):
    outputs = Outputs(tmp_path / "out", folder, pictures=False)
    files = sorted(folder.iterdir())
    predict_files(predictor, files[:1], outputs, print)
    before = (tmp_path / "out" / TABLE).read_bytes()

    def fill(file, content):
        file.write(content[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(outputs_module, "_write_whole", fill)
        with pytest.raises(OutputError, match=r"predictions\.csv: .*got 'No space left on device'"):
            predict_files(predictor, files[1:], outputs, print)
    assert (tmp_path / "out" / TABLE).read_bytes() == before
    goes_on = Outputs(tmp_path / "out", folder, pictures=False, go_on=True)
    predict_files(predictor, files[1:], goes_on, print)
    assert len(rows(tmp_path / "out")) == 2


def watch(predictor, folder, out, count):
    """Predict on the next images that a started watch finds, and stop it."""
    outputs = Outputs(out, folder, pictures=False, go_on=True)
    images = islice(arriving(folder, outputs.done, SUFFIXES, pause=0.005), count)
    return predict_files(predictor, images, outputs, print, Summary(), comes_again=True)


def overwrite(path, seed, seconds):
    save(path, seed)
    os.utime(path, ns=(0, seconds * 10**9 + 5))


def test_an_overwritten_image_is_scored_again_with_its_time(predictor, tmp_path):
    folder, out = tmp_path / "camera", tmp_path / "out"
    folder.mkdir()
    latest = folder / "latest.npy"
    outputs = Outputs(out, folder, pictures=False, go_on=True)
    images = arriving(folder, outputs.done, SUFFIXES, pause=0.005)
    for seed in (0, 1):
        overwrite(latest, seed, 1_700_000_000 + seed)
        predict_files(predictor, islice(images, 1), outputs, print, comes_again=True)
    first, second = rows(out)
    assert first["path"] == second["path"] == str(latest)
    assert first["score"] != second["score"]
    assert first["changed"] == "2023-11-14T22:13:20.000000005Z"
    assert second["changed"] == "2023-11-14T22:13:21.000000005Z"


def test_a_watch_started_again_takes_what_changed_meanwhile_and_nothing_else(predictor, tmp_path):
    folder, out = tmp_path / "camera", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b", "c"):
        overwrite(folder / f"{name}.npy", 0, 1_700_000_000)
    watch(predictor, folder, out, 3)
    overwrite(folder / "b.npy", 1, 1_700_000_001)
    outputs = Outputs(out, folder, pictures=False, go_on=True)
    images = arriving(folder, outputs.done, SUFFIXES, pause=0.005)
    predict_files(predictor, islice(images, 1), outputs, print, comes_again=True)
    save(folder / "z.npy", 3)  # the next there is, were nothing scored twice
    predict_files(predictor, islice(images, 1), outputs, print, comes_again=True)
    names = [Path(row["path"]).name for row in rows(out)]
    assert names == ["a.npy", "b.npy", "c.npy", "b.npy", "z.npy"]


def test_an_image_that_changes_while_others_are_scored_is_looked_at_twice_again(tmp_path):
    for name in ("a", "b"):
        overwrite(tmp_path / f"{name}.npy", 0, 1_700_000_000)
    images = arriving(tmp_path, {}, SUFFIXES, pause=0.005)
    assert next(images).name == "a.npy"
    (tmp_path / "b.npy").write_bytes(b"half")  # the camera writes while a is scored
    later = next(images)
    assert later.name == "b.npy"
    assert state_of(later)[0] == 4  # it rested for two looks of its own
    overwrite(tmp_path / "b.npy", 1, 1_700_000_002)
    assert next(images).name == "b.npy"


class Overwritten(Brightest):
    """A camera writes the next image while one is scored."""

    def __init__(self, path):
        self.path = path

    def score(self, images):
        overwrite(self.path, 1, 1_700_000_009)
        return super().score(images)


def test_a_file_that_changes_while_it_is_read_is_not_taken_half(folder, tmp_path):
    path = folder / "a.npy"
    predictor = Predictor(Overwritten(path), Limits(), DepthInput(16))
    overwrite(path, 0, 1_700_000_000)
    outputs = Outputs(tmp_path / "watched", folder, pictures=False)
    summary = predict_files(predictor, [path], outputs, print, comes_again=True)
    assert (summary.seconds, summary.failed, rows(tmp_path / "watched")) == ([], [], [])
    overwrite(path, 0, 1_700_000_000)
    outputs = Outputs(tmp_path / "once", folder, pictures=False)
    summary = predict_files(predictor, [path], outputs, print)
    assert summary.failed == [
        f"{path}: expected a file that stays as it is, got one that changed while it was read. "
        "Predict on it again."
    ]


def test_a_time_that_no_calendar_has_is_a_number():
    assert time_of((1, 10**9 * 10**12 + 7)) == "1000000000000.000000007"
    assert time_of((1, -1)) == "1969-12-31T23:59:59.999999999Z"
    assert time_of(None) == ""
    assert state_of(Path("gone")) is None


def test_a_name_that_a_spreadsheet_would_run_is_guarded_and_known_again(
    predictor, folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(folder)
    save(Path("=1+1.npy"), 2)
    files = [Path("=1+1.npy"), Path("-a.npy")]
    save(files[1], 3)
    predict_files(predictor, files, Outputs(tmp_path / "out", base_of(files)), print)
    assert [row["path"] for row in rows(tmp_path / "out")] == ["'=1+1.npy", "'-a.npy"]
    done = Outputs(tmp_path / "out", folder, go_on=True).done
    assert set(done) == {str(folder / name) for name in ("=1+1.npy", "-a.npy")}


def test_what_a_killed_prediction_left_unfinished_is_swept(folder, tmp_path):
    left = [
        tmp_path / "out" / place / f".a.0000abcd-1-1.{0:032x}.part" for place in ("", "maps/good")
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (0, 0))
    Outputs(tmp_path / "out", folder)
    assert not any(path.exists() for path in left)


def test_each_part_of_the_score_has_a_column_and_those_of_two_domains_their_old_ones(
    folder, tmp_path
):
    predict(scoring("source", "target"), folder, tmp_path / "two")
    head = (tmp_path / "two" / TABLE).read_text().splitlines()[0]
    assert head == "path,score,score_source,score_target,threshold,decision,changed"
    predict(scoring("target", "coarse", "fine"), folder, tmp_path / "three")
    head = (tmp_path / "three" / TABLE).read_text().splitlines()[0]
    assert head == (
        "path,score,score_source,score_target,score_coarse,score_fine,threshold,decision,changed"
    )
    for row, of_two in zip(rows(tmp_path / "three"), rows(tmp_path / "two"), strict=True):
        assert row["score_source"] == ""
        assert row["score_target"] == row["score"] == of_two["score"] == of_two["score_source"]
        assert float(row["score_fine"]) == pytest.approx(float(row["score"]) + 2)
        assert row["decision"] == of_two["decision"]


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_table_of_several_parts_is_gone_on_with(folder, tmp_path, cut):
    predict(scoring("coarse", "fine"), folder, tmp_path / "out", pictures=False)
    table = tmp_path / "out" / TABLE
    whole = table.read_bytes()
    table.write_bytes(whole[: len(whole) - cut])
    outputs = Outputs(tmp_path / "out", folder, pictures=False, go_on=True)
    waiting = [path for path in sorted(folder.iterdir()) if str(path) not in outputs.done]
    predict_files(scoring("coarse", "fine"), waiting, outputs, print)
    assert table.read_bytes() == whole


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(["coarse"], ["coarse", "fine"], id="more"),
        pytest.param(["coarse", "fine"], ["coarse"], id="fewer"),
        pytest.param(["coarse", "fine"], ["target"], id="none of them"),
    ],
)
def test_a_score_of_other_parts_does_not_join_the_table_of_another_model(
    folder, tmp_path, before, after
):
    predict(scoring(*before), folder, tmp_path / "out", pictures=False)
    table = tmp_path / "out" / TABLE
    written = table.read_bytes()
    outputs = Outputs(tmp_path / "out", folder, pictures=False, go_on=True)
    wanted, found = (
        ", ".join(["score_source", "score_target", *(f"score_{it}" for it in parts)])
        for parts in ([it for it in after if it != "target"], before)
    )
    message = (
        f"{table}: expected the columns of this model's scores, {wanted}, got {found}: "
        "another model wrote it. Choose another --out."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        predict_files(scoring(*after), sorted(folder.iterdir()), outputs, print)
    assert table.read_bytes() == written


def test_a_table_without_a_row_takes_the_columns_of_the_model_that_writes_first(folder, tmp_path):
    predict(scoring("coarse", "fine"), folder, tmp_path / "out", pictures=False)
    table = tmp_path / "out" / TABLE
    table.write_text(table.read_text().splitlines(keepends=True)[0])
    outputs = Outputs(tmp_path / "out", folder, pictures=False, go_on=True)
    predict_files(scoring("coarse"), sorted(folder.iterdir()), outputs, print)
    assert "fine" not in table.read_text()
    assert {row["decision"] for row in rows(tmp_path / "out")} <= {"good", "defective"}
