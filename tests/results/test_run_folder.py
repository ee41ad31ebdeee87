"""One run begins in a folder, and one process at a time writes to it."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock

from fsad.errors import OutputError, RunError
from fsad.results import run_folder
from fsad.results.run_folder import alone_in, begin, refuse_used


def test_of_runs_that_begin_at_once_one_succeeds_and_its_settings_are_kept(tmp_path):
    ready = threading.Barrier(8)

    def start(number):
        refuse_used(tmp_path)  # nobody has begun yet
        ready.wait()
        try:
            begin(tmp_path, str(number))
        except RunError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(start, range(8)))
    assert said.count("") == 1
    assert (tmp_path / "config.yaml").read_text() == str(said.index(""))
    assert set(said) - {""} == {
        f"paths.output_dir: expected a folder without a run, got '{tmp_path}' with categories. "
        f"Go on with resume={tmp_path}, or choose another folder."
    }


def test_a_folder_that_cannot_be_written_to_is_named_and_is_no_run(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"paths\.output_dir: expected a folder that can be wri"):
        begin(tmp_path / "file", "settings")

    def full(*_):
        raise OutputError("config.yaml: expected to write the file, got 'No space left on device'")

    monkeypatch.setattr(run_folder, "write_text", full)
    with pytest.raises(OutputError, match="No space left"):
        begin(tmp_path, "settings")
    refuse_used(tmp_path)  # it is not


@pytest.fixture
def busy(tmp_path):
    """A folder that another thread, as another process would, writes to."""
    locked, done = threading.Event(), threading.Event()

    def hold():
        with alone_in(tmp_path):
            locked.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    yield tmp_path, done
    done.set()
    thread.join()


def test_a_folder_that_another_process_writes_to_is_refused(busy, monkeypatch):
    folder, _ = busy
    monkeypatch.setattr(run_folder, "PATIENCE", 0.1)
    message = (
        rf"paths\.output_dir: expected a folder that no other process writes to, got '{folder}'\. "
        rf"Let that run end, then go on if it has not finished: resume={folder}$"
    )
    with pytest.raises(RunError, match=message), alone_in(folder):
        pytest.fail("not alone")


def test_a_process_that_ends_soon_is_waited_for(busy):
    folder, done = busy
    threading.Timer(0.2, done.set).start()
    with alone_in(folder):
        pass


def test_a_file_system_without_locks_is_said_and_used_all_the_same(tmp_path, monkeypatch, caplog):
    def refuse(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with alone_in(tmp_path):
        pass
    assert f"{tmp_path}: expected a lock, got 'Operation not supported'. Start no" in caplog.text


def test_a_folder_whose_run_was_ended_before_it_began_says_what_to_delete(tmp_path):
    (tmp_path / "categories").mkdir()
    with pytest.raises(RunError, match="Go on with resume="):  # it may be about to write them
        refuse_used(tmp_path)
    os.utime(tmp_path / "categories", (0, 0))
    message = r"with one that was ended before it began\. Delete '.*categories', or choose another"
    with pytest.raises(RunError, match=message):
        refuse_used(tmp_path)
