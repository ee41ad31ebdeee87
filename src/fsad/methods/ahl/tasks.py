"""Tasks out of one category: pairs of clusters, parts of the anomalies, pseudo anomalies."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from fsad.functional.pseudo_anomalies import GENERATORS

FEWEST = 3
"""Images that a cluster needs to be one."""
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """Support or query of a task; places among the normal images and among the seen anomalies.

    Attributes:
        normals: Of one cluster.
        anomalies: A part of the seen ones.
        generator: What made its pseudo anomalies, a name in
            :data:`~fsad.functional.pseudo_anomalies.GENERATORS`.
    """

    normals: Places
    anomalies: Places
    generator: str


@dataclass(frozen=True)
class ClusterTask:
    """Adapt to the support, and do well on the query, which looks otherwise in every respect."""

    support: Side
    query: Side


def cluster_tasks(
    groups: Sequence[int] | Places, anomalies: int, rng: np.random.Generator
) -> list[ClusterTask]:
    """Make a task of each ordered pair of clusters.

    Laws (``tests/methods/test_ahl_tasks.py``):

    * Support and query of a task share no normal image, unless there is one alone, and have
      different generators.
    * They share no anomaly, unless there is one alone.
    * The normal images of a side are those of a cluster; of clusters of at least three, t has
      t (t - 1) tasks; images of smaller ones are in no task. Where fewer than two are as large, all
      normal images are split in halves.

    Args:
        groups: The cluster of each normal image.
        anomalies: How many are seen, 1 or more.
        rng: The only source of randomness.

    Source:
        AHL (CVPR 2024), section 3.2 and appendix.
    """
    groups = np.asarray(groups)
    clusters = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    clusters = [cluster for cluster in clusters if len(cluster) >= FEWEST]
    if len(clusters) < 2:
        order = rng.permutation(len(groups))
        half = max(1, len(order) // 2)
        clusters = [np.sort(order[:half]), np.sort(order[half:] if len(order) > 1 else order)]
    tasks = []
    for normal, other in permutations(clusters, 2):
        first, second = rng.permutation(sorted(GENERATORS))[:2]
        seen, kept = _halves(anomalies, rng)
        tasks.append(ClusterTask(Side(normal, seen, str(first)), Side(other, kept, str(second))))
    return tasks


def _halves(count: int, rng: np.random.Generator) -> tuple[Places, Places]:
    order = rng.permutation(count)
    if count == 1:
        return order, order
    return np.sort(order[: count // 2]), np.sort(order[count // 2 :])
