import pytest
import torch
from torch.testing import assert_close

from fsad.errors import ShapeError
from fsad.functional.held_out import APART, Scale, held_out_neighbours

GRID, C = (6, 9), 4
CELLS = GRID[0] * GRID[1]


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("shots", [2, 3])
def test_a_shots_patches_are_compared_with_the_other_shots_alone(normal, shots, k):
    rows = normal(shots * CELLS, C)
    found = held_out_neighbours(rows, shots, GRID, k)
    image = torch.arange(len(rows)) // CELLS
    apart = torch.cdist(rows, rows).masked_fill(image[:, None] == image, torch.inf)
    expected = apart.topk(k, largest=False)
    assert torch.equal(found.indices, expected.indices)
    assert_close(found.distances, expected.values)


def test_a_single_shots_patches_are_compared_with_those_far_away(normal):
    rows = normal(CELLS, C)
    found = held_out_neighbours(rows, 1, GRID)
    for row in range(CELLS):
        place = divmod(row, GRID[1])
        far = [
            other
            for other in range(CELLS)
            if max(abs(a - b) for a, b in zip(place, divmod(other, GRID[1]), strict=True)) > APART
        ]
        distances = (rows[far] - rows[row]).norm(dim=1)
        assert int(found.indices[row, 0]) == far[int(distances.argmin())]
        assert_close(found.distances[row, 0], distances.min())


def test_twin_shots_are_at_distance_0(normal):
    rows = normal(CELLS, C).repeat(2, 1)
    assert not held_out_neighbours(rows, 2, GRID).distances.any()


def test_rows_that_are_no_whole_images_are_refused(normal):
    with pytest.raises(ShapeError, match="rows: expected"):
        held_out_neighbours(normal(CELLS + 1, C), 1, GRID)


def test_the_spread_of_normal_scores_is_their_standard_deviation(normal):
    scores = 3.0 + 0.5 * normal(200_000)
    scale = Scale.of(scores)
    assert float(scale.centre) == pytest.approx(3.0, abs=0.01)
    assert float(scale.spread) == pytest.approx(0.5, rel=0.01)
    assert_close(scale.applied(scale.centre + 2 * scale.spread), torch.tensor(2.0).double())


def test_scale_and_offset_of_scores_do_not_matter(normal):
    scores = normal(500)
    moved = 7 * scores - 2
    assert_close(Scale.of(moved).applied(moved), Scale.of(scores).applied(scores))
