"""Plain references, written for the benchmark: what one would write first, and bare matmuls."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor


def greedy_steps(features: Tensor, count: int) -> Tensor:
    """Pick ``count`` rows by the k-centre loop as it is usually written; row 0 comes first."""
    to_nearest = torch.full((len(features),), torch.inf, dtype=features.dtype)
    picks = [0]
    while len(picks) < count:
        distance = (features - features[picks[-1]]).norm(dim=1)
        to_nearest = torch.minimum(to_nearest, distance)
        picks.append(int(to_nearest.argmax()))
    return torch.tensor(picks)


def nearest_cdist(queries: Tensor, bank: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Find the k nearest rows from the full matrix of distances."""
    distances = torch.cdist(queries, bank)
    if k == 1:
        lowest = distances.min(dim=1)
        return lowest.values[:, None], lowest.indices[:, None]
    return tuple(distances.topk(k, dim=1, largest=False))  # type: ignore[return-value]


def nearest_float64(queries: Tensor, bank: Tensor) -> tuple[Tensor, Tensor]:
    """Find the nearest row by brute force in float64: the truth."""
    exact = bank.double()
    distances = [
        torch.cdist(part.double(), exact, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
        for part in torch.split(queries, 64)
    ]
    return (
        torch.cat([part.values for part in distances]),
        torch.cat([part.indices for part in distances]),
    )


def bare_search(
    queries: Tensor, bank: Tensor, k: int, block: tuple[int, int] = (1024, 4096)
) -> None:
    """Multiply and take the k largest, chunk by chunk: the work no exact search gets around."""
    for part in torch.split(queries, block[0]):
        found = [
            (part @ rows.T).topk(min(k, len(rows)), dim=1).values
            for rows in torch.split(bank, block[1])
        ]
        torch.cat(found, dim=1).topk(k, dim=1)


def bare_rectify_forward(features: Tensor, first: Tensor, second: Tensor) -> None:
    """Multiply as the rectifier's two layers do, and nothing else."""
    (features @ first.T) @ second.T


def bare_rectify_step(features: Tensor, first: Tensor, second: Tensor) -> None:
    """Multiply as a training step does, forwards and backwards; features need no gradient."""
    hidden = features @ first.T
    out = hidden @ second.T
    to_hidden = out @ second
    out.T @ hidden
    to_hidden.T @ features


def sparse_incidence(members: Tensor, memberships: Tensor, vertices: int) -> Tensor:
    """Return H, ``(v, e)``, as PyTorch's sparse matrix."""
    edges = torch.arange(len(members))[:, None].expand_as(members)
    places = torch.stack([members.flatten(), edges.flatten()])
    size = (vertices, len(members))
    matrix = torch.sparse_coo_tensor(places, memberships.flatten(), size, check_invariants=False)
    return matrix.coalesce()


def auroc(scores: NDArray[np.float32], anomalous: NDArray[np.bool_]) -> float:
    """Return scikit-learn's area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(anomalous.ravel(), scores.ravel()))


def aupro(maps: NDArray[np.float32], masks: NDArray[np.bool_], limit: float = 0.3) -> float:
    """Return AU-PRO, every distinct score a threshold: sort, accumulate, integrate."""
    structure = np.zeros((3, 3, 3), dtype=int)
    structure[1] = 1
    regions, count = ndimage.label(masks, structure)
    order = np.argsort(-maps.ravel(), kind="stable")
    scores, region = maps.ravel()[order], regions.ravel()[order]
    sizes = np.bincount(region, minlength=count + 1).astype(np.float64)
    gain = np.concatenate([[0.0], 1 / (sizes[1:] * count)])
    last = np.append(scores[1:] != scores[:-1], True)
    fpr = np.append(0.0, (np.cumsum(region == 0) / sizes[0])[last])
    pro = np.append(0.0, np.cumsum(gain[region])[last])
    inside = int(np.searchsorted(fpr, limit, side="right"))
    x = np.append(fpr[:inside], limit)
    y = np.append(pro[:inside], np.interp(limit, fpr, pro))
    return float(np.trapezoid(y, x) / limit)


def fit_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Fit cost = constant x size to the power of the exponent, by least squares of logarithms."""
    slope, _ = np.polyfit(np.log(sizes), np.log(costs), 1)
    return float(slope)
