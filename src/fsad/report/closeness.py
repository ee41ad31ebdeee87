"""Numbers that say what a picture of two clouds of features seems to say."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def gap_of_means(first: Rows, second: Rows) -> float:
    r"""Measure how far the clouds' centres lie apart, free of scale.

    .. math:: \lVert \bar a - \bar b \rVert \,/\, \operatorname{mean}_i \lVert x_i \rVert

    over all rows x of both.

    Args:
        first: ``(a, c)``.
        second: ``(b, c)``.

    Returns:
        0 or more; lower = closer.
    """
    gap = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    return float(gap / np.linalg.norm(np.concatenate([first, second]), axis=1).mean())


def moved(before: Rows, after: Rows) -> float:
    """Measure how far rows moved, one by one, over the mean norm of where they were.

    Args:
        before: ``(r, c)``.
        after: ``(r, c)``, the same rows.

    Returns:
        0 or more.
    """
    far = np.linalg.norm(after - before, axis=1).mean()
    return float(far / np.linalg.norm(before, axis=1).mean())


def mixing(first: Rows, second: Rows, metric: str) -> float:
    """Tell how often a row's nearest neighbour lies in the other cloud.

    Args:
        first: ``(a, c)``.
        second: ``(b, c)``.
        metric: ``euclidean`` or ``cosine``.

    Returns:
        A share in [0, 1]: 0 where the clouds lie apart, :func:`mixed` where they are one.
    """
    from sklearn.neighbors import NearestNeighbors

    rows = np.concatenate([first, second])
    domain = np.arange(len(rows)) < len(first)
    search = NearestNeighbors(n_neighbors=1, metric=metric, algorithm="brute").fit(rows)
    nearest = search.kneighbors(return_distance=False)[:, 0]  # a row does not find itself
    return float((domain[nearest] != domain).mean())


def mixed(first: int, second: int) -> float:
    """Return the share that :func:`mixing` has if the domain of a row is mere chance.

    Args:
        first: How many rows one cloud has, 1 or more.
        second: How many the other has, 1 or more.
    """
    return 2 * first * second / ((first + second) * (first + second - 1))
