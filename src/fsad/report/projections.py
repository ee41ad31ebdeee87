"""Planes that features are drawn in: PCA and t-SNE."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsad.report.closeness import Rows

SEED = 0  # of t-SNE; the page is the same whenever it is made
PERPLEXITY = 30

Plane = NDArray[np.float64]


@dataclass(frozen=True)
class Pca:
    """The plane of two clouds' largest spread.

    Attributes:
        centre: What is taken off a row, ``(c,)``.
        axes: Unit vectors, ``(2, c)``, each pointing where its largest entry is positive.
        explained: Share of the fitted rows' variance along each axis, ``(2,)``.
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    explained: NDArray[np.float64]

    @classmethod
    def fit(cls, rows: Rows) -> "Pca":
        """Fit the plane to rows ``(r, c)``."""
        from sklearn.decomposition import PCA

        fitted = PCA(2, svd_solver="full").fit(rows.astype(np.float64))
        axes = fitted.components_
        largest = np.abs(axes).argmax(axis=1)
        axes = axes * np.sign(axes[[0, 1], largest])[:, None]
        return cls(fitted.mean_, axes, fitted.explained_variance_ratio_)

    def project(self, rows: Rows) -> Plane:
        """Return where rows ``(r, c)`` fall, ``(r, 2)``."""
        place: Plane = (rows - self.centre) @ self.axes.T
        return place


def tsne(rows: Rows, metric: str) -> Plane:
    """Lay rows out so that those near each other stay near each other; distances mean little.

    Args:
        rows: ``(r, c)``, at least 4.
        metric: ``euclidean`` or ``cosine``.

    Returns:
        ``(r, 2)``; the same each time.

    Source:
        van der Maaten and Hinton, Visualizing data using t-SNE, JMLR 2008; scikit-learn's.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    layout = TSNE(metric=metric, perplexity=perplexity, init="pca", random_state=SEED)
    with threadpool_limits(1):  # several threads add up in an order of their own
        placed: Plane = layout.fit_transform(rows).astype(np.float64)
    return placed
