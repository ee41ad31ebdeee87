"""Only regular files are opened: whoever reads one is asked here."""

import os
import re
import socket

import pytest

from fsad.data.identity import files_digest
from fsad.data.input import DepthInput
from fsad.data.record import prepared_as
from fsad.data.sample import Sample
from fsad.errors import DataError, RunError, printable
from fsad.results.record import read_category, read_result
from fsad.scores.threshold import read_threshold
from fsad.storage.regular import refuse_irregular, refuse_unprintable
from fsad.storage.tensors import read_tensors


def pipe(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


def test_a_pipe_a_socket_a_device_and_a_folder_are_named_and_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("socket")
        for name, kind in (
            ("pipe", "a named pipe"),
            ("socket", "a socket"),
            ("/dev/zero", "a device"),
            (".", "a folder"),
        ):
            path = pipe(tmp_path / name) if name == "pipe" else tmp_path / name
            told = f"{re.escape(str(path))}: expected a regular file, got {kind}. Leave it out."
            with pytest.raises(DataError, match=told):
                refuse_irregular(path)


def test_a_link_counts_as_what_it_leads_to(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "good").symlink_to("file")
    (tmp_path / "bad").symlink_to(pipe(tmp_path / "pipe"))
    refuse_irregular(tmp_path / "good")
    with pytest.raises(DataError, match="bad: expected a regular file, got a named pipe"):
        refuse_irregular(tmp_path / "bad")


def test_what_is_not_there_is_left_to_whoever_opens_it(tmp_path):
    refuse_irregular(tmp_path / "gone")
    refuse_irregular(tmp_path / "zero\0byte")


@pytest.mark.parametrize("suffix", [".tiff", ".tif", ".png", ".npy"])
def test_no_image_to_predict_on_is_waited_for(tmp_path, suffix):
    with pytest.raises(DataError, match="expected a regular file, got a named pipe"):
        DepthInput(8).read(pipe(tmp_path / f"a{suffix}"))


def test_no_file_of_a_run_is_waited_for(tmp_path):
    with pytest.raises(DataError, match="expected a regular file, got a named pipe"):
        read_result(pipe(tmp_path / "result.json"))
    with pytest.raises(DataError, match="expected a regular file, got a named pipe"):
        read_tensors(pipe(tmp_path / "a.safetensors"))
    pipe(tmp_path / "category.json")
    with pytest.raises(DataError, match=r"category\.json: expected a finished category's result"):
        read_category(tmp_path)
    with pytest.raises(DataError, match=r"threshold\.json: expected a run's threshold"):
        read_threshold(pipe(tmp_path / "threshold.json"))


def test_no_file_of_a_data_set_is_waited_for(tmp_path):
    path = pipe(tmp_path / "a.tiff")
    sample = Sample("tile", "test", "good", "a", {"depth": path})
    with pytest.raises(DataError, match=r"a\.tiff: expected a regular file, got a named pipe"):
        files_digest([sample], "depth")
    pipe(tmp_path / "fsad_prepared.json")
    with pytest.raises(RunError, match="expected the record of a preparation"):
        prepared_as(tmp_path)


def test_a_name_that_is_no_utf8_is_told_with_its_byte(tmp_path):
    name = os.fsdecode(b"part-\xff\n.npy")
    refuse_unprintable(tmp_path / "Teil-ä.npy")
    with pytest.raises(
        DataError, match=r"expected a name in UTF-8, got ff \(hexadecimal\)"
    ) as told:
        refuse_unprintable(tmp_path / name)
    assert str(tmp_path / r"part-\xff\n.npy") in str(told.value)
    assert str(told.value).isprintable()
    str(told.value).encode()


def test_every_message_is_one_line_that_any_terminal_can_show():
    assert printable("a\nb\r\tc\udcff\x1b ä×") == r"a\nb\r\tc\xff\x1b ä×"
    for error in (DataError, RunError):
        assert str(error("x\ny: expected a, got \udcff")) == r"x\ny: expected a, got \xff"
