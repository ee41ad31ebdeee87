"""What train.py says where a file cannot be written and the system does not say which."""

import errno
import os

import pytest

import train
from fsad.errors import OutputError


def fails_with(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(train, "main", fail)
    with pytest.raises(SystemExit) as leaving:
        train.command()
    return leaving.value.code


def test_a_full_disk_names_the_folder_where_the_system_names_no_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    message = fails_with(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert message == (
        f"{tmp_path}: expected a file or folder that can be written, got 'No space left on device'."
        " Choose another hydra.run.dir (or hydra.sweep.dir)."
    )


def test_an_error_that_the_system_gives_no_reason_for_says_its_own_words(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert f"{tmp_path}: expected a file" in fails_with(monkeypatch, OSError("broken"))
    assert "got 'broken'" in fails_with(monkeypatch, OSError("broken"))


def test_a_file_that_the_system_names_is_named_printably(monkeypatch):
    error = OSError(errno.EACCES, "Permission denied", os.fsdecode(b"/a/\xff"))
    assert fails_with(monkeypatch, error).startswith(r"/a/\xff: expected a file or folder")


def test_an_output_error_of_ours_keeps_its_own_message(monkeypatch):
    assert fails_with(monkeypatch, OutputError("x: expected a, got b")) == "x: expected a, got b"
