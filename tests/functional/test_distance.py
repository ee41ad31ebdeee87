import re

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fsad.errors import ConfigError, NonFiniteError, RunError, ShapeError
from fsad.functional import distance, full_search, screen
from fsad.functional.distance import nearest, similarity
from fsad.functional.full_search import GROUP, SPARE
from fsad.functional.prepared import prepare

CHUNKS = [(1, 1), (8, 7), (64, 64), (1024, 4096)]


@pytest.fixture(params=CHUNKS, ids=lambda sizes: f"chunks{sizes[0]}x{sizes[1]}")
def chunks(request, monkeypatch):
    monkeypatch.setattr(distance, "chunk_size", lambda *_: request.param[0])
    monkeypatch.setattr(full_search, "BANK_CHUNK", request.param[1])


def brute_force(queries, bank, k, *, queries_are_bank=False):
    """Every difference in float64, a stable sort: equal distances by bank index."""
    gaps = queries.numpy().astype(np.float64)[:, None] - bank.numpy().astype(np.float64)[None]
    table = np.sqrt((gaps**2).sum(axis=2))
    if queries_are_bank:
        np.fill_diagonal(table, np.inf)
    order = np.argsort(table, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(table, order, axis=1)
    return torch.from_numpy(values), torch.from_numpy(order)


def near_twins(normal, kinds, each, offset):
    """Rows of a few kinds that float32 cannot tell apart by their norms; queries get new ones."""
    kind = torch.linspace(-1, 1, kinds * 16, dtype=torch.float64).sin().view(kinds, 16)
    rows = kind.repeat_interleave(each, dim=0) + offset
    return (rows + 1e-4 * normal(kinds * each, 16)).float()


@pytest.mark.usefixtures("chunks")
class TestWhateverTheChunkSizes:
    @pytest.mark.parametrize("k", [1, 4, 41])
    def test_it_equals_the_brute_force_search(self, normal, k):
        queries, bank = normal(23, 6), normal(41, 6)
        found, expected = nearest(queries, bank, k), brute_force(queries, bank, k)
        assert_close(found[0], expected[0])
        assert torch.equal(found[1], expected[1])

    @pytest.mark.parametrize("k", [1, 4])
    def test_of_more_rows_than_a_few_groups_hold_too(self, normal, k):
        queries, bank = normal(9, 6), normal(5 * GROUP + 3, 6)
        found, expected = nearest(queries, bank, k), brute_force(queries, bank, k)
        assert_close(found[0], expected[0])
        assert torch.equal(found[1], expected[1])

    def test_a_prepared_bank_gives_the_very_same(self, normal):
        queries, bank = normal(23, 6).float(), normal(41, 6).float()
        plain, prepared = nearest(queries, bank, 3), nearest(queries, prepare(bank), 3)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(plain, prepared, strict=True))

    @pytest.mark.parametrize("k", [1, 3])
    @pytest.mark.parametrize("offset", [0, 30], ids=["around-0", "far-off"])
    def test_among_near_twins_it_still_equals_the_brute_force_search(self, normal, k, offset):
        bank, queries = near_twins(normal, 4, 20, offset), near_twins(normal, 4, 3, offset)
        values, indices = nearest(queries, bank, k)
        assert_close(values, brute_force(queries, bank, k)[0].float(), rtol=1e-5, atol=0)
        reached = (queries[:, None] - bank[indices]).norm(dim=2)
        assert_close(values, reached, rtol=1e-5, atol=0)

    def test_among_near_twins_no_row_is_its_own_neighbour(self, normal):
        bank = near_twins(normal, 3, 20, 0)
        values, indices = nearest(bank, bank, 2, queries_are_bank=True)
        expected = brute_force(bank, bank, 2, queries_are_bank=True)
        assert_close(values, expected[0].float(), rtol=1e-5, atol=0)
        assert not (indices == torch.arange(60)[:, None]).any()

    @pytest.mark.parametrize("k", [1, 4, 40])
    def test_no_row_is_its_own_neighbour_when_the_queries_are_the_bank(self, normal, k):
        bank = normal(41, 6)
        values, indices = nearest(bank, bank, k, queries_are_bank=True)
        expected = brute_force(bank, bank, k, queries_are_bank=True)
        assert_close(values, expected[0])
        assert torch.equal(indices, expected[1])
        assert not (indices == torch.arange(41)[:, None]).any()

    def test_a_row_is_at_distance_exactly_0_from_itself_in_float32_far_from_the_origin(
        self, normal
    ):
        bank = normal(41, 6).float() + 1000
        values, indices = nearest(bank, bank)
        assert torch.equal(values, torch.zeros(41, 1))
        assert torch.equal(indices[:, 0], torch.arange(41))

    def test_float32_far_from_the_origin_finds_what_float64_finds(self, normal):
        queries, bank = normal(23, 6).float() + 1000, normal(41, 6).float() + 1000
        found, expected = nearest(queries, bank, 5), brute_force(queries, bank, 5)
        assert torch.equal(found[1], expected[1])
        assert_close(found[0].double(), expected[0], rtol=1e-6, atol=0)

    def test_a_few_equal_rows_come_by_bank_index(self, normal):
        bank = normal(9, 6).repeat(SPARE, 1)  # row i, i + 9, i + 18, ... are equal
        values, indices = nearest(bank[:9], bank, SPARE)
        assert torch.equal(values, torch.zeros(9, SPARE, dtype=torch.float64))
        assert torch.equal(indices, torch.arange(9)[:, None] + 9 * torch.arange(SPARE))

    @pytest.mark.parametrize("own", [False, True])
    def test_of_many_equal_rows_the_lowest_come(self, normal, own):
        bank = normal(3, 6).repeat_interleave(15, dim=0)[torch.randperm(45)]
        values, indices = nearest(bank, bank, 2, queries_are_bank=own)
        assert torch.equal(values, torch.zeros(45, 2, dtype=torch.float64))
        assert torch.equal(indices, brute_force(bank, bank, 2, queries_are_bank=own)[1])

    def test_of_many_equal_rows_among_others_the_lowest_come(self, normal):
        bank = normal(400, 6)
        bank[::3] = bank[0].clone()
        bank[1::7] = bank[1].clone()
        for queries in (normal(50, 6), bank[:50] + 1e-3 * normal(50, 6)):
            found, expected = nearest(queries, bank, 9), brute_force(queries, bank, 9)
            assert torch.equal(found[1], expected[1])
            assert_close(found[0], expected[0])

    def test_a_duplicate_is_a_neighbour_at_distance_0_when_the_queries_are_the_bank(self, normal):
        half = normal(20, 6)
        values, indices = nearest(half.repeat(2, 1), half.repeat(2, 1), queries_are_bank=True)
        assert torch.equal(values, torch.zeros(40, 1, dtype=torch.float64))
        assert torch.equal(indices[:, 0], (torch.arange(40) + 20) % 40)


@pytest.fixture
def screening(monkeypatch):
    """Force screening on every processor; holds what it found, call by call."""
    found, plain = [], screen.screen

    def watched(*arguments):
        found.append(plain(*arguments))
        return found[-1]

    monkeypatch.setattr(screen, "screen", watched)
    monkeypatch.setattr(distance, "SCREENED_FROM", 0)
    monkeypatch.setattr(distance, "CODED_FROM", 0)
    if not screen.int8_is_fast():  # where the fast products may not even be exact

        def products(left, right, out):
            torch.mm(left.int(), right.int().T, out=out)

        monkeypatch.setattr(screen, "int8_products", products)
        monkeypatch.setattr(screen, "int8_is_fast", lambda: True)
    return found


def unscreened(monkeypatch, *arguments, **options):
    with monkeypatch.context() as patch:
        patch.setattr(distance, "can_screen", lambda _: False)
        return nearest(*arguments, **options)


def features(kind, normal):
    """Queries and bank rows as they come in practice, and worse."""
    queries, bank = normal(60, 32), normal(700, 32)
    if kind == "clusters":
        middles = normal(40, 32)
        queries = middles.repeat(2, 1)[:60] + 0.1 * queries
        bank = middles.repeat(18, 1)[:700] + 0.1 * bank
    elif kind == "far off":
        queries, bank = queries + 100, bank + 100
    elif kind == "duplicates":
        bank = bank[torch.arange(700) % 100]
        queries[:30] = bank[:30]
    elif kind == "outliers":
        bank[::50] *= 30
        queries[::9] *= 30
    elif kind == "zero rows":
        bank[::20] = 0
        queries[::9] = 0
    return queries.float(), bank.float()


class LiveMemory(TorchDispatchMode):
    """The most that the results of all operations took while they lived, in bytes."""

    def __init__(self):
        super().__init__()
        self.living, self.peak = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for one in tree_leaves(result):
            if isinstance(one, torch.Tensor):
                storage = one.untyped_storage()
                ref = StorageWeakRef(storage)
                self.living[ref.cdata] = ref, storage.nbytes()
                del storage
        self.living = {key: each for key, each in self.living.items() if not each[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.living.values()))
        return result


FEATURES = ["spread", "clusters", "far off", "duplicates", "outliers", "zero rows"]


class TestScreenedIn8Bits:
    @pytest.mark.parametrize("prepared", [False, True], ids=["plain", "prepared"])
    @pytest.mark.parametrize("k", [1, 5])
    @pytest.mark.parametrize("kind", FEATURES)
    def test_the_distances_are_those_of_the_full_search(
        self, normal, monkeypatch, screening, kind, k, prepared
    ):
        queries, bank = features(kind, normal)
        values, indices = nearest(queries, prepare(bank) if prepared else bank, k)
        assert screening[0] is not None
        expected = unscreened(monkeypatch, queries, bank, k)
        assert torch.equal(values, expected[0])
        if kind not in ("duplicates", "zero rows"):
            assert torch.equal(indices, expected[1])
        assert (values.diff(dim=1) >= 0).all()
        ties = values.diff(dim=1) == 0
        assert (indices.diff(dim=1) > 0)[ties].all()
        assert_close(values, brute_force(queries, bank, k)[0].float(), rtol=1e-5, atol=0)
        reached = torch.linalg.vector_norm(bank[indices] - queries[:, None], dim=2)
        assert torch.equal(values, reached)

    @pytest.mark.parametrize("k", [1, 3])
    def test_among_near_twins_they_are_so_within_the_rounding_of_a_measurement(
        self, normal, monkeypatch, screening, k
    ):
        bank = (normal(200, 1, 64) + 1e-7 * normal(200, 15, 64)).view(-1, 64).float()
        queries = normal(50, 64).float()
        values, _ = nearest(queries, bank, k)
        assert screening[0] is not None
        bound = (64 / 2 + 8) * 2**-24
        exact = brute_force(queries, bank, k)[0]
        for found in (values, unscreened(monkeypatch, queries, bank, k)[0]):
            assert_close(found.double(), exact, rtol=bound, atol=0)

    @pytest.mark.parametrize("kind", FEATURES)
    def test_no_row_is_its_own_neighbour_when_the_queries_are_the_bank(
        self, normal, monkeypatch, screening, kind
    ):
        _, bank = features(kind, normal)
        values, indices = nearest(bank, prepare(bank), 3, queries_are_bank=True)
        assert screening[0] is not None
        assert not (indices == torch.arange(len(bank))[:, None]).any()
        expected = unscreened(monkeypatch, bank, bank, 3, queries_are_bank=True)
        assert torch.equal(values, expected[0])

    @pytest.mark.parametrize("k", [1, 3])
    @pytest.mark.parametrize("size", [1, 7, 64])
    def test_chunks_of_any_size_give_the_same(self, normal, monkeypatch, screening, k, size):
        queries, bank = features("clusters", normal)
        expected = unscreened(monkeypatch, queries, bank, k)
        monkeypatch.setattr(distance, "chunk_size", lambda *_: size)
        monkeypatch.setattr(screen, "BLOCK", 100)
        monkeypatch.setattr("fsad.functional.prepared.PREPARE_CHUNK", 33)
        for searched in (bank, prepare(bank)):
            found = nearest(queries, searched, k)
            assert torch.equal(found[0], expected[0])
            assert torch.equal(found[1], expected[1])
        assert any(one is not None for one in screening)

    def test_a_row_is_at_distance_exactly_0_from_itself(self, normal, screening):
        _, bank = features("far off", normal)
        values, indices = nearest(bank, bank)
        assert screening[0] is not None
        assert torch.equal(values, torch.zeros(700, 1))
        assert torch.equal(indices[:, 0], torch.arange(700))

    @pytest.mark.parametrize("own", [False, True], ids=["queries", "queries-are-bank"])
    def test_queries_among_too_many_twins_are_searched_in_full(
        self, normal, monkeypatch, screening, own
    ):
        twins = 5 + 1e-4 * normal(2 * screen.KEPT, 32)
        triples = (10 * normal(100, 32)).repeat(3, 1) + 1e-2 * normal(300, 32)
        bank = torch.cat([triples, twins]).float()
        queries = bank if own else bank[250:340] + 1e-3
        values, _ = nearest(queries, bank, 2, queries_are_bank=own)
        assert screening[0].lost.any()
        assert not screening[0].lost.all()
        expected = unscreened(monkeypatch, queries, bank, 2, queries_are_bank=own)
        assert torch.equal(values, expected[0])
        exact = brute_force(queries, bank, 2, queries_are_bank=own)
        assert_close(values, exact[0].float(), rtol=1e-5, atol=0)

    def test_a_bank_of_equal_rows_is_searched_in_full(self, normal, screening):
        row = normal(1, 32).float()
        values, _ = nearest(row.expand(9, -1) + 1, row.expand(400, -1), 2)
        assert screening == [None]
        assert_close(values, torch.full((9, 2), 32.0).sqrt())

    def test_of_many_equal_rows_the_lowest_come_here_too(self, normal, screening):
        bank = normal(2000, 32).float()
        bank[5::100] = bank[5].clone()
        queries = bank[:200] + 0.01 * normal(200, 32).float()
        _, indices = nearest(queries, prepare(bank), 3)
        assert screening[0] is not None
        assert indices[5].tolist() == indices[105].tolist() == [5, 105, 205]

    def test_a_bank_of_too_few_rows_for_a_group_is_searched_as_well(self, normal, screening):
        queries, bank = normal(9, 6).float(), normal(4, 6).float()
        values, indices = nearest(queries, bank, 4)
        assert screening[0] is not None
        expected = brute_force(queries, bank, 4)
        assert_close(values, expected[0].float())
        assert torch.equal(indices, expected[1])

    @pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
    def test_features_of_half_precision(self, normal, monkeypatch, screening, dtype):
        queries, bank = (rows.to(dtype) for rows in features("clusters", normal))
        values, _ = nearest(queries, prepare(bank), 3)
        assert screening[0] is not None
        assert values.dtype == torch.float32
        expected = unscreened(monkeypatch, queries, bank, 3)
        assert torch.equal(values, expected[0])

    def test_features_of_double_precision_are_not_screened(self, normal, screening):
        bank = prepare(normal(300, 8))
        nearest(normal(40, 8), bank)
        assert bank.codes is None
        assert not screening

    def test_screening_waits_until_it_pays(self, normal, monkeypatch, screening):
        queries, bank = normal(40, 8).float(), normal(300, 8).float()
        monkeypatch.setattr(distance, "CODED_FROM", 41)
        nearest(queries, bank)
        assert not screening
        nearest(queries, prepare(bank))
        assert len(screening) == 1
        monkeypatch.setattr(distance, "SCREENED_FROM", 40 * 300 * 8 + 1)
        nearest(queries, prepare(bank))
        assert len(screening) == 1

    def test_many_neighbours_are_not_screened_for(self, normal, screening):
        queries, bank = normal(40, 8).float(), normal(300, 8).float()
        nearest(queries, bank, distance.SCREENED_TO)
        assert len(screening) == 1
        nearest(queries, bank, distance.SCREENED_TO + 1)
        assert len(screening) == 1

    def test_the_default_type_and_device_of_tensors_do_not_matter(self, normal, screening):
        queries, bank = features("clusters", normal)
        expected = nearest(queries, prepare(bank), 3)
        torch.set_default_dtype(torch.float64)
        try:
            with torch.device("meta"):
                found = nearest(queries, prepare(bank), 3)
        finally:
            torch.set_default_dtype(torch.float32)
        assert len(screening) == 2
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))

    @pytest.mark.parametrize("kind", ["clusters", "duplicates"])
    @pytest.mark.parametrize("rows", [1000, 4000])
    def test_no_temporary_grows_with_queries_times_bank(
        self, normal, monkeypatch, screening, largest_result, kind, rows
    ):
        queries, bank = features(kind, normal)
        bank = bank.repeat(6, 1)[:rows, :4].contiguous()
        monkeypatch.setattr(screen, "BLOCK", 512)
        with largest_result:
            nearest(queries[:16, :4].contiguous(), bank, 3)
        assert screening
        assert largest_result.numel <= 16 * 4096

    @pytest.mark.parametrize("k", [1, 3])
    def test_memory_is_bounded_where_most_groups_of_rows_tie(self, normal, screening, k):
        rows = torch.arange(2048)
        tied = (rows % screen.GROUP < screen.CROWD)[:, None]  # as many groups as may be looked at
        bank = torch.where(tied, 1e-6 * normal(2048, 4), 10 + normal(2048, 4)).float()
        queries = (1 + 1e-6 * normal(4000, 4)).float()
        with LiveMemory() as live:
            nearest(queries, bank, k)
        assert screening[0] is None
        assert live.peak <= 64 * 2**20

    @pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e30])
    def test_features_that_are_not_finite_are_refused(self, screening, wrong):
        good, bad = torch.ones(40, 2), torch.ones(40, 2)
        bad[3, 1] = wrong
        for name, queries, bank in (("queries", bad, good), ("bank", good, bad)):
            with pytest.raises(
                NonFiniteError, match=rf"^{name}: expected finite features below 1e18, got"
            ):
                nearest(queries, bank)
        with pytest.raises(
            NonFiniteError, match=r"^bank: expected finite features below 1e18, got"
        ):
            prepare(bad)
        assert not screening


def test_codes_are_kept_only_where_8_bits_are_fast(normal, monkeypatch):
    bank = normal(41, 6).float()
    for fast in (False, True):
        monkeypatch.setattr(screen, "int8_is_fast", lambda fast=fast: fast)
        assert (prepare(bank).codes is not None) is fast


def test_a_row_among_hundreds_of_near_twins_is_at_distance_exactly_0_from_itself(normal):
    # what a flat surface gives: patches that differ less than float32 can tell from the norms
    kinds = normal(5, 128).repeat_interleave(100, dim=0)
    bank = (kinds + 1e-4 * normal(500, 128)).float()
    values, _ = nearest(bank, bank)
    assert torch.equal(values, torch.zeros(500, 1))


@pytest.mark.parametrize("own", [False, True], ids=["queries", "queries-are-bank"])
@pytest.mark.parametrize("each", [20, 80])
def test_rows_one_unit_of_rounding_apart_are_told_apart(normal, generator, monkeypatch, each, own):
    monkeypatch.setattr(full_search, "BANK_CHUNK", 1)  # the nearest come from several blocks
    kinds = normal(2, 1, 768).float().expand(-1, each, -1).contiguous()
    steps = torch.randint(-1, 2, kinds.shape, generator=generator, dtype=torch.int32)
    bank = (kinds.view(torch.int32) + steps).view(torch.float32).flatten(0, 1)
    queries = bank if own else bank[::7]
    expected = brute_force(queries, bank, 3, queries_are_bank=own)[0]
    values, indices = nearest(queries, bank, 3, queries_are_bank=own)
    assert_close(values.double(), expected, rtol=1e-5, atol=0)
    assert torch.equal(values, torch.linalg.vector_norm(bank[indices] - queries[:, None], dim=2))


def test_distances_are_symmetric(normal):
    left, right = normal(17, 6), normal(29, 6)

    def table(queries, bank):
        values, indices = nearest(queries, bank, len(bank))
        return torch.empty_like(values).scatter_(1, indices, values)

    assert_close(table(left, right), table(right, left).T, rtol=1e-14, atol=0)


def test_distances_ascend(normal):
    values, _ = nearest(normal(17, 6), normal(29, 6), 29)
    assert (values.diff(dim=1) >= 0).all()


def test_moving_both_sides_alike_changes_nothing(normal):
    queries, bank, shift = normal(17, 6), normal(29, 6), 50 * normal(6)
    here, there = nearest(queries, bank, 3), nearest(queries + shift, bank + shift, 3)
    assert_close(here[0], there[0])
    assert torch.equal(here[1], there[1])


def test_a_query_does_not_depend_on_the_other_queries(normal):
    queries, bank = normal(17, 6), normal(29, 6)
    values, indices = nearest(queries, bank, 3)
    for row in range(17):
        alone = nearest(queries[row : row + 1], bank, 3)
        assert_close(alone[0][0], values[row])
        assert torch.equal(alone[1][0], indices[row])


def test_no_queries_give_no_rows():
    values, indices = nearest(torch.zeros(0, 6), torch.zeros(5, 6), 2)
    assert (values.shape, indices.shape, indices.dtype) == ((0, 2), (0, 2), torch.long)


@pytest.mark.parametrize("order", ["nearest-first", "nearest-last"])
def test_the_order_of_the_bank_only_renames_its_rows(normal, monkeypatch, order):
    monkeypatch.setattr(full_search, "BANK_CHUNK", GROUP)
    query, bank = normal(1, 6), normal(6 * GROUP, 6)
    rank = (bank - query).norm(dim=1).argsort(descending=order == "nearest-last")
    values, indices = nearest(query, bank, 5)
    ordered = nearest(query, bank[rank], 5)
    assert_close(ordered[0], values)
    assert torch.equal(rank[ordered[1]], indices)


def test_preparing_copies_no_rows_and_is_done_once(normal):
    bank = normal(41, 6)
    prepared = prepare(bank)
    assert prepared.rows is bank
    assert prepare(prepared) is prepared
    assert_close(prepared.norms, (bank - prepared.centre).square().sum(dim=1))


def test_it_goes_on_with_fewer_queries_when_memory_runs_out(normal, monkeypatch):
    queries, bank = normal(23, 6), normal(41, 6)
    expected, search = nearest(queries, bank, 3), distance._search

    def cramped(queries, *arguments):
        if len(queries) > 4:
            raise MemoryError
        return search(queries, *arguments)

    monkeypatch.setattr(distance, "_search", cramped)
    found = nearest(queries, bank, 3)
    assert_close(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_too_little_memory_for_one_query_is_an_error_with_a_remedy(monkeypatch):
    def search(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(distance, "_search", search)
    message = r"^queries: expected memory for at least one at a time, got no room\. Free memory"
    with pytest.raises(RunError, match=message):
        nearest(torch.zeros(3, 2), torch.zeros(3, 2))


def test_features_of_half_precision_are_searched_in_float32(normal):
    queries, bank = normal(23, 6).half(), normal(41, 6).half()
    values, indices = nearest(queries, bank, 3)
    expected = brute_force(queries, bank, 3)
    assert values.dtype == torch.float32
    assert_close(values, expected[0].float())
    assert torch.equal(indices, expected[1])


def matmul_precisions():
    return [
        backend.fp32_precision
        for backend in (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    ]


@pytest.fixture
def bfloat16_products():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("bfloat16_products")
def test_products_that_may_lose_precision_elsewhere_lose_none_here(normal, monkeypatch):
    queries, bank = normal(70, 64).float(), normal(700, 64).float()
    expected, before = brute_force(queries, bank, 3), matmul_precisions()
    search, within = distance._search, []

    def watched(*arguments):
        within.append((matmul_precisions(), torch.is_autocast_enabled("cpu")))
        return search(*arguments)

    monkeypatch.setattr(distance, "_search", watched)
    values, indices = nearest(queries, bank, 3)
    assert within == [(["ieee", "ieee"], False)]
    assert_close(values, expected[0].float())
    assert torch.equal(indices, expected[1])
    assert matmul_precisions() == before
    with pytest.raises(NonFiniteError):
        nearest(queries / 0, bank)
    assert matmul_precisions() == before
    assert torch.is_autocast_enabled("cpu")


def test_it_carries_no_gradient(normal):
    values, _ = nearest(normal(5, 6).requires_grad_(), normal(9, 6).requires_grad_())
    assert not values.requires_grad


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e30])
def test_features_that_are_not_finite_or_too_large_to_square_are_refused(wrong):
    good, bad = torch.ones(40, 2), torch.ones(40, 2)
    bad[[3, 7], 1] = wrong
    remedy = r"Look for broken images, or for a training that diverged\."
    for name, queries, bank in (("queries", bad, good), ("bank", good, bad)):
        expected = r"expected finite features below 1e18, got \d+ of 40 rows that are not"
        message = rf"^{name}: {expected}\. {remedy}$"
        with pytest.raises(NonFiniteError, match=message):
            nearest(queries, bank)


@pytest.mark.usefixtures("screening")
@pytest.mark.parametrize("screened", [True, False], ids=["screened", "in-full"])
@pytest.mark.parametrize("size", [6e18, 1e18, 2e17, 1e16])
def test_large_features_are_refused_or_searched_well(normal, monkeypatch, size, screened):
    monkeypatch.setattr(distance, "can_screen", lambda _: screened)
    queries, bank = (size * normal(30, 4)).float(), (size * normal(500, 4)).float()
    if size > 5e17:  # some rows are longer than 1e18, whose squares are still finite
        for one, other in ((queries, bank), (1e-9 * queries, bank), (queries, 1e-9 * bank)):
            with pytest.raises(NonFiniteError, match=r"expected finite features below 1e18, got"):
                nearest(one, other, 3)
    else:
        values, indices = nearest(queries, bank, 3)
        expected = brute_force(queries, bank, 3)
        assert_close(values, expected[0].float(), rtol=1e-5, atol=0)
        assert torch.equal(indices, expected[1])


def test_large_features_about_a_common_middle_are_refused_as_well(normal):
    bank = (2e18 + 1e15 * normal(50, 4)).float()
    with pytest.raises(NonFiniteError, match=r"^bank: expected finite features below 1e18, got 50"):
        prepare(bank)


@pytest.mark.parametrize("shape", [(5, 0), (0, 5)])
def test_a_bank_of_nothing_is_refused(shape):
    message = (
        rf"^bank: expected at least one row and one channel, got {re.escape(str(shape))}\. Look"
    )
    for search in (prepare, lambda bank: nearest(torch.zeros(3, shape[1]), bank)):
        with pytest.raises(ShapeError, match=message):
            search(torch.zeros(shape))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["highest", "high"])
@pytest.mark.parametrize("twins", [False, True], ids=["spread", "near-twins"])
def test_on_a_gpu_it_equals_the_brute_force_search(normal, precision, twins):
    queries, bank = normal(300, 64).float(), normal(9000, 64).float()
    if twins:
        queries, bank = near_twins(normal, 4, 20, 0), near_twins(normal, 4, 500, 0)
    expected, before = brute_force(queries, bank, 5), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)  # TF32
    try:
        values, indices = nearest(queries.cuda(), bank.cuda(), 5)
    finally:
        torch.set_float32_matmul_precision(before)
    assert_close(values.cpu(), expected[0].float(), rtol=1e-5, atol=0)
    if not twins:
        assert torch.equal(indices.cpu(), expected[1])


@pytest.mark.parametrize("twins", [False, True], ids=["spread", "near-twins"])
@pytest.mark.parametrize("rows", [500, 2000])
def test_no_temporary_grows_with_queries_times_bank(rows, twins, monkeypatch, largest_result):
    monkeypatch.setattr(distance, "chunk_size", lambda *_: 16)
    monkeypatch.setattr(full_search, "BANK_CHUNK", 256)
    queries, bank = torch.randn(300, 4), torch.randn(rows, 4)
    if twins:
        queries, bank = 1e-4 * queries + 1, 1e-4 * bank + 1
    with largest_result:
        nearest(queries, bank, 3)
    assert largest_result.numel <= 16 * 256


def test_k_out_of_range_is_refused():
    bank = torch.zeros(4, 2)
    with pytest.raises(ConfigError, match=r"^k: expected at most 4 neighbours, got 5$"):
        nearest(bank, bank, 5)
    with pytest.raises(ConfigError, match=r"^k: expected at most 3 neighbours, got 4$"):
        nearest(bank, bank, 4, queries_are_bank=True)
    with pytest.raises(ConfigError, match=r"^k: expected a whole number of at least 1, got 0$"):
        nearest(bank, bank, 0)


def test_other_channels_are_refused():
    with pytest.raises(ShapeError, match=r"^bank: expected \(b, c\) with c=2, got \(4, 3\)$"):
        nearest(torch.zeros(4, 2), torch.zeros(4, 3))


@pytest.mark.parametrize("scale", [1.0, 0.25, 7.0])
def test_similarity_is_1_at_0_one_half_at_the_scale_and_falls_with_distance(uniform, scale):
    distances = torch.tensor([0.0, scale, 3 * scale, torch.inf], dtype=torch.float64)
    expected = torch.tensor([1, 1 / 2, 1 / 4, 0], dtype=torch.float64)
    assert_close(similarity(distances, scale), expected)
    ascending = (10 * uniform(50)).sort().values
    assert (similarity(ascending, scale).diff() < 0).all()


def test_similarity_ignores_the_unit_when_the_scale_has_it_too(uniform):
    distances = uniform(5, 4)
    assert_close(similarity(1000 * distances, 1000 * 0.3), similarity(distances, 0.3))
