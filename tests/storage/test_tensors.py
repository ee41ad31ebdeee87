import json
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fsad.errors import DataError, MissingDataError, OutputError
from fsad.storage.tensors import (
    atomic,
    bytes_of,
    make_folder,
    partial_of,
    read_tensors,
    sweep,
    write_json,
    write_tensors,
    write_text,
)


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


def test_two_writers_of_one_file_do_not_share_a_partial_one(tmp_path):
    path = tmp_path / "result.json"
    with atomic(path) as first:
        first.write_text("first")
        with atomic(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"  # the last to finish
    assert list(tmp_path.iterdir()) == [path]


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


DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]


def test_tensors_come_back_with_their_metadata(tmp_path):
    grid = torch.arange(6.0).reshape(2, 3)
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"turned": grid.T, "grid": grid.requires_grad_()}, {"about": "a test"})
    tensors, metadata = read_tensors(path, checksum_required=True)
    assert metadata == {"about": "a test"}
    assert set(tensors) == {"turned", "grid"}
    assert torch.equal(tensors["turned"], grid.detach().T)
    assert torch.equal(tensors["grid"], grid.detach())
    assert list(tmp_path.iterdir()) == [path]


def test_other_programs_read_the_tensors(tmp_path):
    write_tensors(tmp_path / "t", {"x": torch.arange(3)})
    assert load_file(tmp_path / "t")["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 5), (), (0, 4)], ids=str)
def test_every_dtype_and_shape_comes_back(tmp_path, dtype, shape):
    value = (torch.randn(shape) * 9).to(dtype)
    write_tensors(tmp_path / "t", {"x": value})
    back = read_tensors(tmp_path / "t", checksum_required=True)[0]["x"]
    assert back.dtype == dtype
    assert back.shape == shape
    assert torch.equal(back, value)


def test_numbers_that_are_none_come_back_bit_by_bit(tmp_path):
    value = torch.tensor([float("nan"), -float("nan"), float("inf"), -0.0])
    write_tensors(tmp_path / "t", {"x": value})
    back = read_tensors(tmp_path / "t")[0]["x"]
    assert torch.equal(back.view(torch.int32), value.view(torch.int32))


def test_no_tensor_is_a_file_too(tmp_path):
    write_tensors(tmp_path / "t", {}, {"a": "b"})
    assert read_tensors(tmp_path / "t", checksum_required=True) == ({}, {"a": "b"})


def test_tensors_arrive_on_the_device_asked_for(tmp_path):
    write_tensors(tmp_path / "t", {"x": torch.zeros(3)})
    assert read_tensors(tmp_path / "t", device="meta")[0]["x"].device.type == "meta"


def test_tensors_outlive_their_file_and_writing_into_them_does_not_change_it(tmp_path):
    write_tensors(tmp_path / "t", {"x": torch.arange(1000)})
    tensors, _ = read_tensors(tmp_path / "t")
    tensors["x"][0] = -1
    assert read_tensors(tmp_path / "t", checksum_required=True)[0]["x"][0] == 0
    (tmp_path / "t").unlink()
    assert tensors["x"][1:].tolist() == list(range(1, 1000))


def test_tensors_are_readable_for_whom_other_files_are(tmp_path):
    (tmp_path / "other").touch()
    write_tensors(tmp_path / "t", {"x": torch.zeros(3)})
    assert (tmp_path / "t").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_checksum_is_the_crc32_of_layout_metadata_and_numbers_in_sorted_order(tmp_path):
    write_tensors(
        tmp_path / "t",
        {"b": torch.tensor([1.5, -2.0]), "a": torch.tensor([[7]], dtype=torch.uint8)},
        {"z": "2", "y": "1"},
    )
    head = '[[["a", "torch.uint8", [1, 1]], ["b", "torch.float32", [2]]], [["y", "1"], ["z", "2"]]]'
    expected = zlib.crc32(head.encode() + b"\x07" + struct.pack("<2f", 1.5, -2.0))
    with safe_open(tmp_path / "t", "pt") as file:
        assert file.metadata()["fsad.crc32"] == f"{expected:08x}"


@pytest.fixture
def small(tmp_path):
    """A small file of tensors."""
    path = tmp_path / "small.safetensors"
    write_tensors(path, {"x": torch.randn(3), "on": torch.tensor([True])}, {"seconds": "1.5"})
    return path


def test_a_file_is_refused_whichever_of_its_bits_flips(small):
    whole = small.read_bytes()
    for place in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        small.write_bytes(damaged)
        with pytest.raises(DataError, match=f"^{small}: expected .*, got .*"):
            read_tensors(small, checksum_required=True)
    small.write_bytes(whole)
    read_tensors(small, checksum_required=True)


def test_a_file_is_refused_wherever_it_is_cut(small):
    whole = small.read_bytes()
    for length in range(len(whole)):
        small.write_bytes(whole[:length])
        with pytest.raises(DataError, match=f"^{small}: expected a file of tensors, got '"):
            read_tensors(small)
    small.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match=f"^{small}: expected a file of tensors, got '"):
        read_tensors(small)


@pytest.mark.parametrize("content", [b"", b"{}", b"PK\3\4" * 1000, bytes(1000)])
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{path}: expected a file of tensors, got '") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=f"^{tmp_path}: expected a regular file, got a folder"):
        read_tensors(tmp_path)


def test_other_numbers_than_those_written_are_refused_by_their_checksum(small):
    whole = small.read_bytes()
    with safe_open(small, "pt") as file:
        written = file.metadata()["fsad.crc32"]
    small.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError) as caught:
        read_tensors(small)
    found = str(caught.value)[-8:]
    assert found != written
    assert str(caught.value) == f"{small}: expected the checksum {written}, got {found}"


def test_a_file_without_checksum_is_read_unless_one_is_required(tmp_path):
    path = tmp_path / "old"
    save_file({"x": torch.ones(2)}, path, {"a": "b"})
    tensors, metadata = read_tensors(path)
    assert tensors["x"].tolist() == [1, 1]
    assert metadata == {"a": "b"}
    with pytest.raises(DataError) as caught:
        read_tensors(path, checksum_required=True)
    assert str(caught.value) == f"{path}: expected a checksum, got none"


def test_a_missing_file_of_tensors_is_missing(tmp_path):
    path = tmp_path / "none"
    with pytest.raises(MissingDataError) as caught:
        read_tensors(path)
    assert str(caught.value) == f"{path}: expected a file of tensors, got none"


def test_tensors_too_large_for_the_disk_are_refused_and_leave_nothing_behind(tmp_path):
    path = tmp_path / "t"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # stands for a full disk
    try:
        with pytest.raises(OutputError) as caught:
            write_tensors(path, {"x": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith(f"{path}: expected to write the file, got '")
    assert "File too large" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_of_a_tensor_lie_row_by_row():
    turned = torch.tensor([[1, 2], [3, 4]], dtype=torch.int16).T
    assert bytes(bytes_of(turned)) == struct.pack("<4h", 1, 3, 2, 4)
    assert bytes(bytes_of(torch.tensor(1.0, dtype=torch.bfloat16))) == b"\x80\x3f"


def killed_while_writing(path):
    """Have another process die in the middle of a file, and return what it left."""
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from fsad.storage.tensors import atomic\n"
        "with atomic(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = path.parent.glob(".*.part")
    return left


def test_what_a_killed_process_left_is_swept_at_once(tmp_path):
    (tmp_path / "below").mkdir()
    left = killed_while_writing(tmp_path / "below" / "result.json")
    sweep(tmp_path, "")
    assert left.exists()  # not asked for below
    sweep(tmp_path)
    assert not left.exists()


def test_what_a_living_process_writes_is_never_swept_however_old(tmp_path):
    with atomic(tmp_path / "a") as partial:
        partial.write_text("half")
        os.utime(partial, (0, 0))
        sweep(tmp_path)
        assert partial.exists()
    assert (tmp_path / "a").read_text() == "half"


def test_a_later_process_of_the_same_number_does_not_keep_what_is_left(tmp_path):
    ours = partial_of(tmp_path / "a")
    front, _, rest = ours.name.partition(f"-{os.getpid()}-")
    started, _, back = rest.partition(".")
    other = tmp_path / f"{front}-{os.getpid()}-{int(started) + 1}.{back}"
    other.touch()
    sweep(tmp_path)
    assert not other.exists()


@pytest.mark.parametrize("name", [".a.{}.part", ".a.0000abcd-1-1.{}.part"])
def test_of_another_machines_process_only_the_age_is_known(tmp_path, name):
    fresh, old = (tmp_path / name.format(f"{digit:032x}") for digit in (1, 2))
    fresh.touch()
    old.touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [fresh.name]


def test_an_unfinished_file_of_another_program_stays(tmp_path):
    (tmp_path / ".film.mp4.part").touch()
    os.utime(tmp_path / ".film.mp4.part", (0, 0))
    sweep(tmp_path)
    assert (tmp_path / ".film.mp4.part").exists()


def test_an_unfinished_folder_goes_whole(tmp_path):
    folder = partial_of(tmp_path / "set").with_name(f".set.{0:032x}.part")
    (folder / "knob").mkdir(parents=True)
    os.utime(folder, (0, 0))
    sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path):
    for name in ("a" * 255, "ä" * 127):
        write_text(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"


def test_text_with_a_name_that_is_no_utf8_is_written_with_an_escape(tmp_path):
    write_text(tmp_path / "a", os.fsdecode(b"part-\xff"))
    assert (tmp_path / "a").read_text() == r"part-\udcff"
