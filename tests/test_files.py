import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fsad.errors import MissingDataError, OutputError
from fsad.files import atomic, make_folder, write_json, write_tensors, write_text


def test_a_finished_block_leaves_the_new_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with atomic(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"  # until the block ends
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def write_half_and_raise(path, error):
    with atomic(path) as partial:
        partial.write_text("half")
        raise error


@pytest.mark.parametrize("stop", [RuntimeError("stop"), KeyboardInterrupt("stop")])
def test_a_block_that_raises_leaves_the_old_file_and_no_partial_one(tmp_path, stop):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(type(stop), match=r"^stop$"):
        write_half_and_raise(path, stop)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_raises_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(RuntimeError, match=r"^stop$"):
        write_half_and_raise(tmp_path / "new", RuntimeError("stop"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_ours_raised_in_the_block_keeps_its_message(tmp_path):
    with pytest.raises(MissingDataError, match=r"^x: expected a, got b$"):
        write_half_and_raise(tmp_path / "new", MissingDataError("x: expected a, got b"))
    assert list(tmp_path.iterdir()) == []


def test_the_partial_file_lies_beside_the_file(tmp_path):
    with atomic(tmp_path / "result.json") as partial:
        partial.touch()
        assert partial.parent == tmp_path  # one file system, so that the move is atomic
        assert partial.name.startswith(".")


def test_a_file_in_a_missing_folder_is_refused_by_its_path(tmp_path):
    path = tmp_path / "none" / "a.txt"
    with pytest.raises(OutputError) as caught:
        write_text(path, "text")
    assert (
        str(caught.value) == f"{path}: expected to write the file, got 'No such file or directory'"
    )


def test_a_file_below_a_regular_file_is_refused_by_its_path(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "a.txt"
    with pytest.raises(OutputError) as caught:
        write_text(path, "text")
    assert str(caught.value) == f"{path}: expected to write the file, got 'Not a directory'"


def test_a_file_in_place_of_a_folder_is_refused_and_leaves_no_partial_one(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OutputError) as caught:
        write_text(path, "text")
    assert str(caught.value) == f"{path}: expected to write the file, got 'Is a directory'"
    assert list(tmp_path.iterdir()) == [path]


def test_text_comes_back_in_utf8(tmp_path):
    write_text(tmp_path / "a.txt", "α = 0.3\n")
    assert (tmp_path / "a.txt").read_bytes() == "α = 0.3\n".encode()


def test_json_comes_back_with_its_keys_in_order(tmp_path):
    value = {"b": [1, 2.5, None], "a": {"ä": True}}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert list(json.loads(text)) == ["b", "a"]
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_other_readers_cannot_read_and_keeps_the_old_file(tmp_path, value):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        write_json(path, {"a": value})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_made_with_its_parents_and_left_empty(tmp_path):
    folder = tmp_path / "a" / "b"
    assert make_folder(folder, "paths.output_dir") == folder
    assert list(folder.iterdir()) == []
    assert make_folder(folder, "paths.output_dir") == folder  # again


@pytest.mark.parametrize(
    ("place", "reason"), [("file", "File exists"), ("file/a", "Not a directory")]
)
def test_a_folder_that_cannot_be_made_is_refused_by_name_with_a_remedy(tmp_path, place, reason):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        make_folder(tmp_path / place, "paths.output_dir")
    assert str(caught.value) == (
        "paths.output_dir: expected a folder that can be written, "
        f"got '{tmp_path / place}' ({reason}). Choose another folder or change its permissions."
    )


def test_tensors_come_back_with_their_metadata(tmp_path):
    grid = torch.arange(6.0).reshape(2, 3)
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"turned": grid.T, "grid": grid.requires_grad_()}, {"about": "a test"})
    stored = load_file(path)
    assert torch.equal(stored["turned"], grid.detach().T)
    assert torch.equal(stored["grid"], grid.detach())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"about": "a test"}
