import errno
import hashlib
import logging
import multiprocessing
import os
import resource
import signal
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout
from safetensors.torch import save, save_file

import fsad.storage.tensors as tensor_files
from fsad.errors import ConfigError, MissingDataError, OutputError
from fsad.storage import tensor_store
from fsad.storage.tensor_store import TensorStore, digest
from fsad.storage.tensors import read_tensors, write_tensors

FLOATS = 250
KEYS = [digest(number) for number in range(8)]


def content(key: str) -> dict[str, torch.Tensor]:
    """What shall be stored under a key: about a kilobyte that no other key has."""
    generator = torch.Generator().manual_seed(int(key[:8], 16))
    return {"x": torch.randn(FLOATS, generator=generator)}


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("??/*.safetensors"))


def file_of(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key}.safetensors"


def use(folder: Path, key: str, seconds_ago: int) -> None:
    """Date an entry's last use, as file systems' clocks are coarse."""
    then = time.time() - seconds_ago
    os.utime(file_of(folder, key), (then, then))


def put(into: TensorStore, key: str) -> None:
    into.put(key, content(key))


def has(where: TensorStore, key: str) -> bool:
    return file_of(where.folder, key).exists()


def assert_right(where: TensorStore, key: str) -> None:
    entry = where.get(key)
    assert entry is not None
    assert torch.equal(entry.tensors["x"], content(key)["x"])


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def entry_size(tmp_path_factory):
    """The bytes of one entry."""
    folder = tmp_path_factory.mktemp("size")
    put(TensorStore(folder), KEYS[0])
    return size_of(folder)


@pytest.fixture
def warnings(caplog):
    """What the store warns of, line by line."""
    caplog.set_level(logging.WARNING, logger="fsad")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture(scope="module")
def process():
    """``process(function, *arguments)``: another process, which has torch imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fsad.storage.tensor_store"])
    started = []

    def start(function, *arguments):
        started.append(context.Process(target=function, args=arguments))
        started[-1].start()
        return started[-1]

    start.event = context.Event
    yield start
    for one in started:
        one.kill()
        one.join()


# Reading back


def test_what_was_put_is_got_in_every_dtype_with_its_metadata(folder):
    tensors = {
        "double": torch.randn(3, 2, dtype=torch.float64),
        "half": torch.randn(3).half(),
        "brain": torch.randn(2, 2).bfloat16(),
        "whole": torch.arange(5),
        "mask": torch.tensor([True, False]),
        "number": torch.tensor(2.5),
        "empty": torch.zeros(0, 7),
        "turned": torch.randn(2, 3).T,
    }
    TensorStore(folder).put(KEYS[0], tensors, {"seconds": "1.5"})
    entry = TensorStore(folder).get(KEYS[0])
    assert entry.metadata == {"seconds": "1.5"}
    assert set(entry.tensors) == set(tensors)
    for name, value in tensors.items():
        assert entry.tensors[name].dtype == value.dtype
        assert torch.equal(entry.tensors[name], value)


def test_a_key_that_was_never_put_gives_nothing_and_no_warning(folder, warnings):
    assert TensorStore(folder).get(KEYS[0]) is None
    assert warnings() == []


def test_a_second_put_replaces_the_first(folder):
    cache = TensorStore(folder)
    cache.put(KEYS[0], {"x": torch.zeros(2)})
    cache.put(KEYS[0], {"y": torch.ones(2)})
    assert set(cache.get(KEYS[0]).tensors) == {"y"}


def test_entries_lie_in_folders_of_the_first_two_digits(folder):
    put(TensorStore(folder), KEYS[0])
    assert [path.relative_to(folder) for path in folder.rglob("*.safetensors")] == [
        Path(KEYS[0][:2]) / f"{KEYS[0]}.safetensors"
    ]


@pytest.mark.parametrize("key", ["", "../../etc", "ABCDEF012345", "abc", "0123456789abcdeg\n"])
def test_a_key_that_is_no_digest_is_refused(folder, key):
    cache = TensorStore(folder)
    with pytest.raises(ConfigError) as caught:
        cache.get(key)
    assert str(caught.value) == f"key: expected a hexadecimal digest, got {key!r}"


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught:
        TensorStore(tmp_path / "file")
    assert str(caught.value) == (
        "paths.cache_dir: expected a folder that can be written, "
        f"got '{tmp_path / 'file'}' (File exists). Choose another folder or change its permissions."
    )


@pytest.mark.parametrize("cap", [0, -1, float("nan"), float("inf"), True])
def test_a_cap_that_is_no_size_is_refused(folder, cap):
    with pytest.raises(ConfigError) as caught:
        TensorStore(folder, cap)
    assert str(caught.value) == f"cache.max_gb: expected a number above 0, got {cap!r}"


# Damage


def assert_dropped(folder, warnings):
    """The entry is reported absent, deleted with one warning, and can be made anew."""
    cache, path = TensorStore(folder), file_of(folder, KEYS[0])
    assert cache.get(KEYS[0]) is None
    assert not path.exists()
    assert len(warnings()) == 1
    assert warnings()[0].startswith(f"deleted and computed again: {path}: expected ")
    assert cache.get(KEYS[0]) is None
    assert len(warnings()) == 1
    put(cache, KEYS[0])
    assert_right(cache, KEYS[0])


# 0: the header's length; 8: its first brace; the last ones: the first and last number.
@pytest.mark.parametrize("offset", [0, 7, 8, 12, 30, 60, -4 * FLOATS, -2 * FLOATS, -1])
@pytest.mark.parametrize("bit", [0, 7])
def test_an_entry_with_a_flipped_bit_is_deleted_and_not_used(folder, warnings, offset, bit):
    put(TensorStore(folder), KEYS[0])
    path = file_of(folder, KEYS[0])
    damaged = bytearray(path.read_bytes())
    damaged[offset] ^= 1 << bit
    path.write_bytes(damaged)
    assert_dropped(folder, warnings)


@pytest.mark.parametrize("length", [0, 1, 8, 100, -1])
def test_an_entry_cut_short_is_deleted_and_not_used(folder, warnings, length):
    put(TensorStore(folder), KEYS[0])
    path = file_of(folder, KEYS[0])
    path.write_bytes(path.read_bytes()[:length])
    assert_dropped(folder, warnings)


def test_an_entry_without_a_checksum_is_deleted_and_not_used(folder, warnings):
    path = file_of(folder, KEYS[0])
    path.parent.mkdir(parents=True)
    save_file(content(KEYS[0]), path)
    assert_dropped(folder, warnings)


def test_an_entry_that_cannot_be_opened_for_now_is_absent_but_stays(folder, warnings, monkeypatch):
    cache = TensorStore(folder)
    put(cache, KEYS[0])

    def refuse(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(tensor_files, "safe_open", refuse)
        assert cache.get(KEYS[0]) is None
    assert warnings()[0].startswith("computed again: ")
    assert "Too many open files" in warnings()[0]
    assert_right(cache, KEYS[0])


# Death in the middle of a write


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_the_move(folder: Path) -> None:
    os.replace = die
    put(TensorStore(folder), KEYS[0])


def die_within_the_file(folder: Path) -> None:
    def write_half(tensors, path, metadata):
        path.write_bytes(save(tensors, metadata)[: 2 * FLOATS])
        die()

    tensor_files.save_file = write_half
    put(TensorStore(folder), KEYS[0])


@pytest.mark.parametrize("death", [die_before_the_move, die_within_the_file])
def test_a_process_killed_while_it_writes_leaves_no_entry_and_the_next_one_is_whole(
    folder, process, warnings, death, entry_size
):
    killed = process(death, folder)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    (leftover,) = folder.glob("??/.*")
    assert leftover.stat().st_size > 0

    cache = TensorStore(folder, 2 * entry_size)
    assert cache.get(KEYS[0]) is None
    put(cache, KEYS[0])
    put(cache, KEYS[1])
    assert_right(cache, KEYS[0])  # the leftover took none of the room
    assert_right(cache, KEYS[1])
    assert not leftover.exists()  # its writer is known to be dead
    assert warnings() == []


@pytest.mark.parametrize("name", [".a.safetensors.0.part", ".tmpAbCdEf"])  # ours, safetensors' own
@pytest.mark.parametrize("cap", [None, 10**6])
def test_what_a_killed_process_left_is_swept_a_day_later(folder, name, cap):
    put(TensorStore(folder), KEYS[0])
    old, young = (folder / sub / name for sub in (KEYS[0][:2], "zz"))
    for path in (old, young):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    yesterday = time.time() - 86_401
    os.utime(old, (yesterday, yesterday))
    put(TensorStore(folder, cap), KEYS[1])
    assert not old.exists()
    assert young.exists()


# Several processes


def put_and_get(folder: Path, cap: int, first: int) -> None:
    """Use all keys in turn, and exit with 1 if one gives what another should."""
    cache = TensorStore(folder, cap)
    for turn in range(80):
        key = KEYS[(first + turn) % len(KEYS)]
        entry = cache.get(key)
        if entry is None:
            put(cache, key)
        elif not torch.equal(entry.tensors["x"], content(key)["x"]):
            sys.exit(1)


@pytest.mark.parametrize("fit", [3, 100])
def test_four_processes_that_put_and_get_the_same_keys_all_get_the_right_data(
    folder, process, entry_size, fit
):
    cap = fit * entry_size
    four = [process(put_and_get, folder, cap, first) for first in (0, 0, 3, 5)]
    for one in four:
        one.join()
    assert [one.exitcode for one in four] == [0, 0, 0, 0]
    assert not list(folder.glob("??/.*"))
    cache = TensorStore(folder, cap)
    put(cache, KEYS[0])
    assert size_of(folder) <= cap
    assert_right(cache, KEYS[0])


def hold(folder: Path, held: object) -> None:
    with TensorStore(folder).lock(KEYS[0]):
        held.set()
        time.sleep(600)  # until it is killed


def wait(folder: Path, waits: object, entered: object) -> None:
    class Tell(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("waiting for another process to compute "):
                waits.set()

    log = logging.getLogger("fsad")
    log.setLevel(logging.INFO)
    log.addHandler(Tell())
    with TensorStore(folder).lock(KEYS[0]):
        entered.set()


def test_a_lock_keeps_a_second_process_out_until_its_holder_is_killed(folder, process):
    held, waits, entered = process.event(), process.event(), process.event()
    holder = process(hold, folder, held)
    assert held.wait(60)
    with pytest.raises(Timeout):
        FileLock(folder / "locks" / f"{KEYS[0]}.lock").acquire(timeout=0)
    second = process(wait, folder, waits, entered)
    assert waits.wait(60)
    assert not entered.is_set()
    with TensorStore(folder).lock(KEYS[1]):
        pass  # another key's lock is free
    holder.kill()
    assert entered.wait(60)
    second.join()
    assert second.exitcode == 0


def test_a_lock_is_free_after_its_block_even_if_that_raised(folder, caplog):
    caplog.set_level(logging.INFO, logger="fsad")
    cache = TensorStore(folder)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^stop$"), cache.lock(KEYS[0]):
            raise RuntimeError("stop")
    assert caplog.messages == []  # nobody waited


def test_without_locks_the_work_is_done_with_a_warning(folder, warnings, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    done = False
    with TensorStore(folder).lock(KEYS[0]):
        done = True
    assert done
    assert warnings() == [
        f"{file_of(folder, KEYS[0])}: expected a lock, got 'No locks available'. "
        "It may be computed more than once."
    ]


# The cap


def test_the_least_recently_used_entry_goes_and_the_total_stays_below_the_cap(folder, entry_size):
    cap = 3 * entry_size + entry_size // 2
    cache = TensorStore(folder, cap)
    for age, key in enumerate(KEYS[:3]):
        put(cache, key)
        use(folder, key, seconds_ago=100 - age)
    put(cache, KEYS[3])
    assert [has(cache, key) for key in KEYS[:4]] == [False, True, True, True]
    assert size_of(folder) <= cap


def test_getting_an_entry_makes_it_the_most_recently_used(folder, entry_size):
    cache = TensorStore(folder, 3 * entry_size + entry_size // 2)
    for age, key in enumerate(KEYS[:3]):
        put(cache, key)
        use(folder, key, seconds_ago=100 - age)
    assert_right(cache, KEYS[0])
    put(cache, KEYS[3])
    assert [has(cache, key) for key in KEYS[:4]] == [True, False, True, True]


def test_fetching_an_entry_makes_it_the_most_recently_used(folder, entry_size, tmp_path):
    cache = TensorStore(folder, 3 * entry_size + entry_size // 2)
    for age, key in enumerate(KEYS[:3]):
        put(cache, key)
        use(folder, key, seconds_ago=100 - age)
    assert cache.fetch(KEYS[0], tmp_path / "fetched")
    put(cache, KEYS[3])
    assert [has(cache, key) for key in KEYS[:4]] == [True, False, True, True]


@pytest.mark.parametrize("fit", [1.0, 2.5, 20.5])
def test_one_process_is_never_above_the_cap_after_a_put(folder, entry_size, fit):
    cap = int(fit * entry_size)
    cache = TensorStore(folder, cap)
    for number in range(50):
        key = digest("many", number)
        put(cache, key)
        assert size_of(folder) <= cap
        assert_right(cache, key)
    assert size_of(folder) > cap - cap // 16 - 2 * entry_size  # and no more is lost than need be


def test_entries_that_other_processes_wrote_count_at_the_next_look(folder, entry_size):
    cap = 16 * entry_size
    ours, theirs = TensorStore(folder, cap), TensorStore(folder, cap)
    for number in range(15):
        put(ours, digest("ours", number))
        put(theirs, digest("theirs", number))
        # One sixteenth of the cap and one entry for each of the two.
        assert size_of(folder) <= cap + 2 * (cap // 16 + entry_size)


def test_the_folder_is_not_walked_on_each_put(folder, entry_size, monkeypatch):
    cap = 160 * entry_size
    walks = []
    whole = tensor_store.os.scandir
    monkeypatch.setattr(tensor_store.os, "scandir", lambda path: walks.append(path) or whole(path))
    cache = TensorStore(folder, cap)
    for number in range(40):
        put(cache, digest("many", number))
    # At first, and then whenever more than a sixteenth of the cap, ten entries, was written.
    assert walks.count(folder) == 1 + 39 // 11


def test_an_entry_larger_than_the_cap_is_not_stored_and_evicts_nothing(
    folder, warnings, entry_size
):
    cache = TensorStore(folder, 2 * entry_size)
    put(cache, KEYS[0])
    for key in KEYS[1:3]:
        cache.put(key, {"x": torch.zeros(FLOATS * 10)})
        assert not has(cache, key)
    assert_right(cache, KEYS[0])
    assert warnings() == [
        "cache.max_gb: expected room for an entry of 1e-05 GB, got "
        f"{2 * entry_size / 1e9:.3g}. Entries larger than the cap are not stored."
    ]


def test_an_entry_whose_header_alone_exceeds_the_cap_does_not_stay(folder):
    cap = 4 * FLOATS  # the numbers fit, the file does not
    put(TensorStore(folder, cap), KEYS[0])
    assert size_of(folder) == 0


def test_without_a_cap_nothing_is_evicted(folder):
    cache = TensorStore(folder)
    for key in KEYS:
        put(cache, key)
    assert all(has(cache, key) for key in KEYS)


def test_an_evicted_entry_stays_readable_for_who_holds_it(folder, entry_size):
    cache = TensorStore(folder, entry_size)
    put(cache, KEYS[0])
    held = cache.get(KEYS[0])
    put(cache, KEYS[1])
    assert not has(cache, KEYS[0])
    assert torch.equal(held.tensors["x"], content(KEYS[0])["x"])


def test_eviction_goes_on_when_files_vanish_meanwhile(folder, entry_size, monkeypatch):
    cap = 2 * entry_size
    cache = TensorStore(folder, cap)
    for age, key in enumerate(KEYS[:2]):
        put(cache, key)
        use(folder, key, seconds_ago=100 - age)
    whole = Path.unlink

    def unlink_after_another(path: Path, missing_ok: bool = False) -> None:
        whole(path, missing_ok=True)  # the other process comes first
        whole(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_after_another)
    put(cache, KEYS[2])
    assert has(cache, KEYS[2])
    assert size_of(folder) <= cap


def test_a_held_lock_is_never_evicted(folder, entry_size):
    cache = TensorStore(folder, entry_size)
    with cache.lock(KEYS[0]):
        for key in KEYS:
            put(cache, key)
        with pytest.raises(Timeout):
            FileLock(folder / "locks" / f"{KEYS[0]}.lock", thread_local=False).acquire(timeout=0)


# A cache never ends a run


def test_a_full_disk_is_said_once_and_the_run_goes_on_without_storing(folder, warnings):
    cache = TensorStore(folder)
    put(cache, KEYS[0])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # stands for a full disk
    try:
        put(cache, KEYS[1])
        put(cache, KEYS[2])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    put(cache, KEYS[3])
    (warning,) = warnings()
    assert warning.startswith(f"paths.cache_dir: expected to store in '{folder}', got '")
    assert "File too large" in warning
    assert warning.endswith(
        "NOTHING MORE IS STORED by this run, which goes on. "
        "Free some space, or set cache.max_gb lower."
    )
    assert_right(cache, KEYS[0])
    assert [has(cache, key) for key in KEYS[:4]] == [True, False, False, False]
    assert not list(folder.glob("??/.*"))


# Files of a run's folder


def test_a_fetched_file_is_equal_and_survives_its_eviction(folder, tmp_path, entry_size):
    cache = TensorStore(folder, entry_size + entry_size // 2)
    cache.put(KEYS[0], content(KEYS[0]), {"a": "b"})
    path = tmp_path / "banks.safetensors"
    assert cache.fetch(KEYS[0], path)
    assert path.samefile(file_of(folder, KEYS[0]))  # a link
    put(cache, KEYS[1])
    assert not has(cache, KEYS[0])
    tensors, metadata = read_tensors(path, checksum_required=True)
    assert torch.equal(tensors["x"], content(KEYS[0])["x"])
    assert metadata == {"a": "b"}


def test_a_file_is_fetched_over_an_older_one_and_over_itself(folder, tmp_path):
    cache = TensorStore(folder)
    put(cache, KEYS[0])
    path = tmp_path / "banks.safetensors"
    path.write_text("old")
    assert cache.fetch(KEYS[0], path)
    assert cache.fetch(KEYS[0], path)
    assert path.read_bytes() == file_of(folder, KEYS[0]).read_bytes()
    assert set(tmp_path.iterdir()) == {path, folder}


def refuse_links(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(tensor_store.os, "link", refuse)


def test_where_links_are_impossible_files_are_copied(folder, tmp_path, monkeypatch):
    refuse_links(monkeypatch)
    cache = TensorStore(folder)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    write_tensors(ours, content(KEYS[0]))
    cache.keep(KEYS[0], ours)
    assert cache.fetch(KEYS[0], theirs)
    assert theirs.read_bytes() == ours.read_bytes()
    assert len({path.stat().st_ino for path in (ours, theirs, file_of(folder, KEYS[0]))}) == 3


def test_nothing_is_fetched_where_nothing_is(folder, tmp_path):
    assert not TensorStore(folder).fetch(KEYS[0], tmp_path / "banks.safetensors")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_damaged_entry_is_not_fetched(folder, tmp_path, warnings):
    put(TensorStore(folder), KEYS[0])
    stored = file_of(folder, KEYS[0])
    stored.write_bytes(stored.read_bytes()[:-1] + b"\xff")
    assert not TensorStore(folder).fetch(KEYS[0], tmp_path / "banks.safetensors")
    assert list(tmp_path.iterdir()) == [folder]
    assert not stored.exists()
    assert len(warnings()) == 1


def test_an_entry_evicted_while_it_is_fetched_is_absent(folder, tmp_path, monkeypatch):
    cache = TensorStore(folder)
    put(cache, KEYS[0])
    whole = tensor_store.os.link

    def link_too_late(source, path):
        source.unlink()
        whole(source, path)

    monkeypatch.setattr(tensor_store.os, "link", link_too_late)
    assert not cache.fetch(KEYS[0], tmp_path / "banks.safetensors")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_run_folder_that_cannot_be_written_is_refused_by_its_path(folder, tmp_path):
    cache = TensorStore(folder)
    put(cache, KEYS[0])
    path = tmp_path / "none" / "banks.safetensors"
    with pytest.raises(OutputError) as caught:
        cache.fetch(KEYS[0], path)
    assert (
        str(caught.value) == f"{path}: expected to write the file, got 'No such file or directory'"
    )


def test_a_kept_file_is_an_entry_and_stays_where_it_was(folder, tmp_path):
    cache = TensorStore(folder)
    path = tmp_path / "perturb.safetensors"
    write_tensors(path, content(KEYS[0]), {"a": "b"})
    cache.keep(KEYS[0], path)
    assert_right(cache, KEYS[0])
    assert cache.get(KEYS[0]).metadata == {"a": "b"}
    assert path.samefile(file_of(folder, KEYS[0]))  # a link
    write_tensors(path, content(KEYS[1]))  # a new file in its place
    assert_right(cache, KEYS[0])


def test_kept_files_count_towards_the_cap(folder, tmp_path, entry_size):
    cap = 2 * entry_size + entry_size // 2
    cache = TensorStore(folder, cap)
    for age, key in enumerate(KEYS[:3]):
        write_tensors(tmp_path / key, content(key))
        cache.keep(key, tmp_path / key)
        if has(cache, key):
            use(folder, key, seconds_ago=100 - age)
    assert [has(cache, key) for key in KEYS[:3]] == [False, True, True]
    assert all((tmp_path / key).exists() for key in KEYS[:3])


def test_a_kept_file_is_the_most_recently_used_however_old_it_is(folder, tmp_path, entry_size):
    cache = TensorStore(folder, 2 * entry_size + entry_size // 2)
    write_tensors(tmp_path / "old", content(KEYS[0]))
    os.utime(tmp_path / "old", (1, 1))
    put(cache, KEYS[1])
    use(folder, KEYS[1], seconds_ago=100)
    cache.keep(KEYS[0], tmp_path / "old")
    put(cache, KEYS[2])
    assert [has(cache, key) for key in KEYS[:3]] == [True, False, True]


def test_a_file_larger_than_the_cap_is_not_kept(folder, tmp_path, warnings):
    cache = TensorStore(folder, 10)
    write_tensors(tmp_path / "large", content(KEYS[0]))
    cache.keep(KEYS[0], tmp_path / "large")
    assert not has(cache, KEYS[0])
    assert len(warnings()) == 1


@pytest.mark.parametrize("checksum", [True, False])
def test_a_file_that_no_one_could_trust_is_not_kept(folder, tmp_path, warnings, checksum):
    cache, path = TensorStore(folder), tmp_path / "file"
    if checksum:
        write_tensors(path, content(KEYS[0]))
        path.write_bytes(path.read_bytes()[:-1])
    else:
        save_file(content(KEYS[0]), path)
    cache.keep(KEYS[0], path)
    assert not has(cache, KEYS[0])
    assert path.exists()
    assert len(warnings()) == 1
    assert warnings()[0].startswith(f"not stored for other runs: {path}: expected ")


def test_a_missing_file_cannot_be_kept(folder, tmp_path):
    with pytest.raises(MissingDataError, match="expected a file of tensors, got none"):
        TensorStore(folder).keep(KEYS[0], tmp_path / "none")


# Keys


def by_hand(written: bytes) -> str:
    return hashlib.sha256(written).hexdigest()


def test_the_digest_is_the_sha256_of_kinds_lengths_and_contents():
    assert digest() == by_hand(b"l0:")
    assert digest("ab", b"\0", 12, None, True) == by_hand(b"l5:s2:aby1:\0i2:12n0:b1:1")
    assert digest("ü") == by_hand(b"l1:s2:\xc3\xbc")
    assert digest(1.5) == by_hand(b"l1:f20:0x1.8000000000000p+0")
    assert digest({"b": [1], "a": ()}) == by_hand(b"l1:m2:s1:al0:s1:bl1:i1:1")
    assert digest(torch.tensor([[1.0, -2.0]])) == by_hand(
        b"l1:ts13:torch.float32l2:i1:1i1:2y8:" + struct.pack("<2f", 1, -2)
    )


def test_the_digest_is_the_same_in_every_process():
    # printf 'l2:s8:backbonem2:s1:al1:i1:1s1:bf20:0x1.8000000000000p+0' | sha256sum
    pinned = "fac7f65d0e7758f7a09e2c3d68589565618628832c7397ec91d671badc4ccfab"
    assert digest("backbone", {"b": 1.5, "a": [1]}) == pinned


def test_different_parts_have_different_digests():
    four = torch.arange(4, dtype=torch.int32)
    different = [
        (),
        ([],),
        ({},),
        ("",),
        (b"",),
        (None,),
        (0,),
        (0.0,),
        (-0.0,),
        (False,),
        (1,),
        (1.0,),
        (True,),
        ("1",),
        (b"1",),
        ("ab", "c"),
        ("a", "bc"),
        ("abc",),
        (["ab", "c"],),
        (["ab"], "c"),
        (["ab"], ["c"]),
        ([["ab"], "c"],),
        ("s2:ab",),
        ({"ab": "c"},),
        ({"c": "ab"},),
        (four,),
        (four + 1,),
        (four.reshape(2, 2),),
        (four.reshape(4, 1),),
        (four.long(),),
        (four.float(),),
        (four.view(torch.float32),),
        (four.tolist(),),
        (bytes(tensor_files.bytes_of(four)),),
        (four.bfloat16(),),
        (four.half(),),
        (torch.zeros(0),),
        (torch.zeros(0, 1),),
    ]
    assert len({digest(*parts) for parts in different}) == len(different)


def test_equal_parts_have_equal_digests():
    grid = torch.randn(3, 4)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest([1, 2]) == digest((1, 2))
    assert digest(grid.T) == digest(grid.T.contiguous())
    assert digest(grid) == digest(torch.nn.Parameter(grid))
    assert digest(float("nan")) == digest(float("nan"))
    assert digest(np.float64(0.5)) == digest(0.5)


@pytest.mark.parametrize(
    "part", [Path("a"), {1, 2}, object(), np.int64(1), {1: 2}], ids=lambda part: type(part).__name__
)
def test_a_part_that_may_differ_elsewhere_is_refused(part):
    with pytest.raises(ConfigError) as caught:
        digest([part])
    assert str(caught.value) == (
        "digest: expected text, bytes, numbers, truth values, None, tensors, or lists and mappings "
        f"from text of these, got {type(part).__name__}"
    )
