import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fsad.errors import ConfigError, ShapeError
from fsad.functional import distance
from fsad.functional.distance import SPARE, nearest, similarity

CHUNKS = [(1, 1), (8, 7), (64, 64), (1024, 4096)]


@pytest.fixture(params=CHUNKS, ids=lambda sizes: f"chunks{sizes[0]}x{sizes[1]}")
def chunks(request, monkeypatch):
    monkeypatch.setattr(distance, "QUERY_CHUNK", request.param[0])
    monkeypatch.setattr(distance, "BANK_CHUNK", request.param[1])


def brute_force(queries, bank, k, *, queries_are_bank=False):
    """Every difference in float64, a stable sort: equal distances by bank index."""
    gaps = queries.numpy().astype(np.float64)[:, None] - bank.numpy().astype(np.float64)[None]
    table = np.sqrt((gaps**2).sum(axis=2))
    if queries_are_bank:
        np.fill_diagonal(table, np.inf)
    order = np.argsort(table, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(table, order, axis=1)
    return torch.from_numpy(values), torch.from_numpy(order)


@pytest.mark.usefixtures("chunks")
class TestWhateverTheChunkSizes:
    @pytest.mark.parametrize("k", [1, 4, 41])
    def test_it_equals_the_brute_force_search(self, normal, k):
        queries, bank = normal(23, 6), normal(41, 6)
        found, expected = nearest(queries, bank, k), brute_force(queries, bank, k)
        assert_close(found[0], expected[0])
        assert torch.equal(found[1], expected[1])

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

    def test_of_many_equal_rows_come_equal_ones_in_index_order_and_always_the_same(self, normal):
        bank = normal(3, 6).repeat_interleave(15, dim=0)
        values, indices = nearest(bank, bank, 2)
        assert torch.equal(values, torch.zeros(45, 2, dtype=torch.float64))
        assert torch.equal(indices // 15, (torch.arange(45) // 15)[:, None].expand(-1, 2))
        assert bool((indices[:, 0] < indices[:, 1]).all())
        assert torch.equal(nearest(bank, bank, 2)[1], indices)

    def test_a_duplicate_is_a_neighbour_at_distance_0_when_the_queries_are_the_bank(self, normal):
        half = normal(20, 6)
        values, indices = nearest(half.repeat(2, 1), half.repeat(2, 1), queries_are_bank=True)
        assert torch.equal(values, torch.zeros(40, 1, dtype=torch.float64))
        assert torch.equal(indices[:, 0], (torch.arange(40) + 20) % 40)


def test_a_row_among_hundreds_of_near_twins_is_at_distance_exactly_0_from_itself(normal):
    # what a flat surface gives: patches that differ less than float32 can tell from the norms
    kinds = normal(5, 128).repeat_interleave(100, dim=0)
    bank = (kinds + 1e-4 * normal(500, 128)).float()
    values, _ = nearest(bank, bank)
    assert torch.equal(values, torch.zeros(500, 1))


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


@pytest.mark.parametrize("rows", [500, 2000])
def test_no_temporary_grows_with_queries_times_bank(rows, monkeypatch, largest_result):
    monkeypatch.setattr(distance, "QUERY_CHUNK", 16)
    monkeypatch.setattr(distance, "BANK_CHUNK", 256)
    queries, bank = torch.randn(300, 4), torch.randn(rows, 4)
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
