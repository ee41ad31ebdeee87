"""Work in chunks: every item once and in order, smaller chunks when memory runs out."""

import weakref

import pytest
import torch

from fsad.errors import ConfigError, RunError
from fsad.functional.chunks import (
    CPU_BUDGET,
    CUDA_CAP,
    CUDA_SHARE,
    chunk_budget,
    chunk_size,
    in_chunks,
)

TOO_MUCH = 2**50  # bytes, more than a process can address: the allocator refuses at once


def on_the_cpu():
    torch.empty(TOO_MUCH, dtype=torch.uint8)


def on_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the docs.")


def in_numpy():
    raise MemoryError("Unable to allocate 1.00 PiB")


def without_a_word():
    raise MemoryError


SHORTAGES = [on_the_cpu, on_a_gpu, in_numpy, without_a_word]


def fitting(limit, shortage, log):
    """Work that only chunks of up to ``limit`` items survive; every attempt is written down."""

    def work(piece):
        log.append(range(piece.start, piece.stop))
        if piece.stop - piece.start > limit:
            shortage()
        return list(log[-1])

    return work


@pytest.mark.parametrize("count", [0, 1, 7, 8])
@pytest.mark.parametrize("size", [1, 3, 4, 8, 100])
def test_the_chunks_join_to_all_items_in_order(count, size):
    pieces = list(in_chunks(count, size, lambda piece: range(piece.start, piece.stop)))
    assert [item for piece in pieces for item in piece] == list(range(count))
    assert all(len(piece) == size for piece in pieces[:-1])


@pytest.mark.parametrize("shortage", SHORTAGES)
@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_where_memory_runs_out_the_chunk_is_halved_until_it_fits(shortage, limit):
    log = []
    pieces = list(in_chunks(21, 16, fitting(limit, shortage, log)))
    assert [item for piece in pieces for item in piece] == list(range(21))
    assert max(map(len, pieces)) == {1: 1, 2: 2, 3: 2, 5: 4}[limit]


def test_the_smaller_size_is_kept_and_what_was_done_is_not_done_again():
    log = []
    list(in_chunks(11, 8, fitting(3, in_numpy, log)))
    assert log == [range(8), range(4), range(2), *(range(i, min(i + 2, 11)) for i in (2, 4, 6, 8)),
                   range(10, 11)]  # fmt: skip


def test_a_short_last_chunk_is_halved_by_its_own_length():
    log = []
    list(in_chunks(5, 100, fitting(2, in_numpy, log)))
    assert log == [range(5), range(2), range(2, 4), range(4, 5)]


def test_a_chunk_that_failed_has_let_go_of_its_memory_before_the_next_try():
    held = []

    def work(piece):
        assert all(reference() is None for reference in held)
        tensor = torch.zeros(piece.stop - piece.start)
        held.append(weakref.ref(tensor))
        if len(tensor) > 1:
            raise MemoryError
        return len(tensor)

    assert list(in_chunks(4, 4, work)) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("shortage", "reason"),
    [
        (on_the_cpu, r".*DefaultCPUAllocator: can't allocate memory.*"),
        (on_a_gpu, r"CUDA out of memory\. Tried to allocate 2\.00 GiB\."),
        (in_numpy, r"Unable to allocate 1\.00 PiB"),
        (without_a_word, r"MemoryError"),
    ],
)
def test_one_item_that_does_not_fit_is_an_error_with_a_remedy(shortage, reason):
    message = (
        rf"^queries: expected memory for at least one at a time, got {reason}\. Free memory, or "
        r"use smaller images, a smaller bank or another device\.$"
    )
    with pytest.raises(RunError, match=message) as caught:
        list(in_chunks(8, 4, fitting(0, shortage, []), "queries"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no")]
)
def test_other_errors_pass_through_at_once(error):
    log = []

    def work(piece):
        log.append(piece)
        raise error

    with pytest.raises(type(error)) as caught:
        list(in_chunks(8, 8, work))
    assert caught.value is error
    assert len(log) == 1


def test_chunks_of_nothing_are_refused():
    message = r"^chunk size: expected a whole number of at least 1, got 0$"
    with pytest.raises(ConfigError, match=message):
        list(in_chunks(3, 0, lambda piece: piece))


def test_on_a_cpu_the_size_is_always_the_same_and_at_least_one():
    cpu = torch.device("cpu")
    assert chunk_budget(cpu) == CPU_BUDGET
    assert chunk_size(1024, cpu) == CPU_BUDGET // 1024
    assert chunk_size(2 * CPU_BUDGET, cpu) == 1
    assert chunk_size(0, cpu) == CPU_BUDGET


@pytest.mark.parametrize(
    ("free", "expected"), [(2**20, 2**23 // CUDA_SHARE), (100 * 2**30, CUDA_CAP)]
)
def test_on_a_gpu_it_is_a_share_of_what_is_free_or_held_unused_up_to_a_cap(
    monkeypatch, free, expected
):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 2**40))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 9 * 2**20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2 * 2**20)
    assert chunk_budget(torch.device("cuda")) == expected


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_real_shortage_on_a_gpu_is_survived():
    free, _ = torch.cuda.mem_get_info()

    def work(piece):
        return torch.empty((piece.stop - piece.start) * (free // 4), device="cuda").numel()

    assert len(list(in_chunks(8, 8, work))) == 8  # floats: one fits, two do not
