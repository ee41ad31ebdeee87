"""Equal rows of a bank are found, and the lowest of them stand for any."""

import torch

from fsad.functional.equal_rows import equal_rows
from fsad.functional.prepared import prepare


def test_a_bank_without_equal_rows_has_no_groups(normal):
    assert prepare(normal(50, 4)).equal is None


def test_rows_that_share_a_norm_alone_are_not_equal():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert equal_rows(rows, torch.ones(3)) is None


def test_groups_are_told_by_their_rows():
    rows = torch.tensor([[2.0], [1.0], [2.0], [3.0], [1.0], [2.0]])
    found = equal_rows(rows, rows[:, 0])
    assert found is not None
    groups = {
        tuple(found.order[start : start + size].tolist())
        for start, size in zip(*found.first.unique(return_counts=True), strict=True)
    }
    assert groups == {(0, 2, 5), (1, 4), (3,)}


def test_the_lowest_stand_for_those_found_and_no_query_becomes_its_own_neighbour():
    rows = torch.tensor([[2.0], [1.0], [2.0], [3.0], [1.0], [2.0]])
    found = equal_rows(rows, rows[:, 0])
    assert found is not None
    assert found.lowest(torch.tensor([[5, 3, 2], [4, 5, 1]])).tolist() == [[0, 3, 2], [1, 0, 4]]
    own = torch.tensor([0, 5, 1])
    lowest = found.lowest(torch.tensor([[5, 3], [2, 0], [4, 5]]), own)
    assert lowest.tolist() == [[2, 3], [0, 2], [4, 0]]


def test_a_bank_in_half_precision_has_its_equal_rows_too(normal):
    rows = normal(20, 8).bfloat16()
    rows[7] = rows[3]
    found = prepare(rows).equal
    assert found is not None
    assert found.lowest(torch.tensor([[7]])).item() == 3
