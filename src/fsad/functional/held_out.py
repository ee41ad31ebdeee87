"""What normal patches score: every shot against a bank of the others."""

from typing import NamedTuple

import torch
from torch import Tensor

from fsad.errors import ConfigError, check_at_least, check_shape
from fsad.functional.distance import nearest
from fsad.functional.neighbours import Neighbours

APART = 3  # cells; with a single shot, patches this near to one another do not count
FLOOR = 1e-3
NORMAL = 1.4826  # a normal distribution's standard deviation over its median absolute deviation


def held_out_neighbours(rows: Tensor, shots: int, grid: tuple[int, int], k: int = 1) -> Neighbours:
    """Find every shot patch's nearest patches among the other shots.

    A single shot has no others: its patches are compared with those more than ``APART`` cells away
    in the same image, whose receptive fields overlap little. Both overstate what a new good image
    scores less than a patch's own neighbours would understate it.

    Args:
        rows: All patches of the shots, image by image, row by row of the grid,
            ``(shots * h * w, c)``.
        shots: How many.
        grid: Height and width of the grid of patches.
        k: Neighbours of each.

    Returns:
        Indices into ``rows`` and distances, each ``(shots * h * w, k)``, nearest first.

    Raises:
        ShapeError: There are not as many rows.
        ConfigError: The grid of a single shot is so small that a patch has none far away.

    Note:
        Cost is that of comparing all rows with all; with one shot ``(h * w)^2`` numbers are held.
    """
    check_at_least("shots", shots, 1)
    cells = grid[0] * grid[1]
    check_shape("rows", rows, "r c", r=shots * cells)
    if shots == 1:
        y, x = (
            torch.arange(cells, device=rows.device).div(grid[1], rounding_mode="floor"),
            (torch.arange(cells, device=rows.device) % grid[1]),
        )
        if max(grid) <= 2 * APART + 1:
            raise ConfigError(
                f"method.plus.calibrate: expected more than {2 * APART + 1} cells a side with a "
                f"single shot, got a grid of {grid[0]} x {grid[1]}"
            )
        near = ((y[:, None] - y).abs() <= APART) & ((x[:, None] - x).abs() <= APART)
        apart = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
        found = apart.masked_fill(near, torch.inf).topk(k, dim=1, largest=False)
        return Neighbours(found.indices, found.values)
    parts = []
    for shot in range(shots):
        own = slice(shot * cells, (shot + 1) * cells)
        others = torch.cat([rows[: own.start], rows[own.stop :]])
        distances, indices = nearest(rows[own], others, k)
        parts.append(
            Neighbours(torch.where(indices < own.start, indices, indices + cells), distances)
        )
    return Neighbours(*(torch.cat(part) for part in zip(*parts, strict=True)))


class Scale(NamedTuple):
    """Where normal scores lie: their median, and their median absolute deviation x ``NORMAL``."""

    centre: Tensor
    spread: Tensor

    @classmethod
    def of(cls, scores: Tensor) -> "Scale":
        """Measure normal scores of any shape.

        Law: of normally distributed scores the spread is the standard deviation. It is at least
        ``FLOOR`` times the largest score: twin shots have no spread, and that is no scale.
        """
        centre = scores.median()
        spread = NORMAL * (scores - centre).abs().median()
        floor = FLOOR * scores.abs().max()
        return cls(centre, torch.maximum(spread, torch.where(floor > 0, floor, 1.0)))

    def applied(self, scores: Tensor) -> Tensor:
        """Return scores in units of the spread above the centre."""
        return (scores - self.centre) / self.spread
