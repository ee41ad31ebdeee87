"""k-means: groups of rows around their means."""

import numpy as np
import torch
from torch import Tensor

from fsad.errors import ConfigError, check_at_least, check_shape
from fsad.functional.chunks import in_chunks

STEPS = 100


def kmeans(rows: Tensor, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    r"""Split rows into groups, each around its mean.

    Lloyd's algorithm from centres that are drawn far apart: it goes on until no row changes its
    group, or for :data:`STEPS` steps. A group that loses all its rows keeps its centre.

    Laws (``tests/functional/test_kmeans.py``): each row is in the group of its nearest centre; each
    centre is the mean of its group; from the same centres the groups are scikit-learn's.

    Args:
        rows: ``(n, c)``.
        count: How many groups, at most n.
        rng: Of the first centres, the only source of randomness.

    Returns:
        The group of each row, ``(n,)`` int64 in [0, count), and the centres, ``(count, c)``.

    Raises:
        ShapeError: ``rows`` is no matrix.
        ConfigError: There are fewer rows than groups.

    Source:
        Lloyd, IEEE Transactions on Information Theory 1982; Arthur and Vassilvitskii, k-means++
        (SODA 2007).
    """
    sizes = check_shape("rows", rows, "n c")
    if sizes["n"] < check_at_least("clusters", count, 1):
        raise ConfigError(f"clusters: expected at most {sizes['n']}, one per row, got {count}")
    centres = first_centres(rows, count, rng)
    groups = nearest_centres(rows, centres)
    for _ in range(STEPS):
        centres = torch.stack(
            [
                rows[groups == group].mean(dim=0) if bool((groups == group).any()) else centre
                for group, centre in enumerate(centres)
            ]
        )
        before, groups = groups, nearest_centres(rows, centres)
        if torch.equal(before, groups):
            break
    return groups, centres


def first_centres(rows: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Draw rows that lie far apart: each with a chance in proportion to its squared distance.

    Returns:
        ``(count, c)``.
    """
    chosen = [int(rng.integers(len(rows)))]
    for _ in range(count - 1):
        apart = _distances(rows, rows[chosen]).amin(dim=1).double().cpu().numpy()
        apart[chosen] = 0
        total = apart.sum()
        chances = apart / total if total > 0 else None  # all rows are equal
        chosen.append(int(rng.choice(len(rows), p=chances)))
    return rows[chosen]


def nearest_centres(rows: Tensor, centres: Tensor) -> Tensor:
    """Return the place of each row's nearest centre, ``(n,)``; of equally near ones the first."""
    return _distances(rows, centres).argmin(dim=1)


def _distances(rows: Tensor, centres: Tensor) -> Tensor:
    """Return squared distances ``(n, k)``, by subtraction: exactly 0 of a row from itself."""
    parts = in_chunks(
        len(rows),
        max(1, 2**26 // max(1, rows.shape[1] * len(centres))),
        lambda part: (rows[part, None] - centres).square().sum(dim=2),
        "rows",
    )
    return torch.cat(list(parts))
