"""What the page cannot know from a few maps: their range over all test images, and PRO curves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsad.functional.scoring import anomaly_maps, fuse
from fsad.metrics.masks import number_regions
from fsad.metrics.pro import pro_curve
from fsad.report.scores import CategoryScores
from fsad.scored import DOMAINS

BATCH = 16  # images whose maps are made at once
STEPS = 10  # intervals of beta between which the range of the fused maps is interpolated
POINTS = np.concatenate([np.linspace(0, 0.05, 51), np.linspace(0.05, 0.3, 51)[1:]])
"""False-positive rates at which a PRO curve is drawn."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """What is measured over all maps of a category.

    Attributes:
        limits: Lowest and highest value of each domain's maps.
        fused_limits: Those of the fused maps, by beta, rising. Between two betas the highest is
            convex and the lowest concave: lines between them enclose every map.
        pro: Mean overlap with the defects' regions at ``POINTS``, by set of maps; empty without
            ground truth.
    """

    limits: dict[str, Range]
    fused_limits: dict[float, Range]
    pro: dict[str, list[float]]


def measure(
    scores: CategoryScores, size: int, sigma: float, masks: Sequence[Tensor] | None
) -> Measured:
    """Make all maps of a category once, and forget them.

    Args:
        scores: Of its test images.
        size: Height and width of the maps, pixels.
        sigma: Their blur, pixels.
        masks: Ground truth of each image, ``(S, S)``, bool, or None.

    Note:
        With ground truth it holds three maps of every test image at a time: 0.6 MB an image of
        224 × 224.
    """
    betas = sorted({step / STEPS for step in range(STEPS + 1)} | {scores.beta or 0.0})
    limits: dict[str, Range] = {}
    fused_limits: dict[float, Range] = {}
    kept: dict[str, list[Tensor]] = {}
    for first in range(0, len(scores.images), BATCH):
        maps = {
            domain: anomaly_maps(each.patches[first : first + BATCH], size, sigma)
            for domain, each in scores.by_domain.items()
        }
        for domain, values in maps.items():
            limits[domain] = _widened(limits.get(domain), values)
        if scores.beta is not None:
            both = [maps[domain] for domain in DOMAINS]
            for beta in betas:
                values = fuse(both[0], both[1], beta)
                fused_limits[beta] = _widened(fused_limits.get(beta), values)
            maps["fused"] = fuse(both[0], both[1], scores.beta)
        if masks is not None:
            for name, values in maps.items():
                kept.setdefault(name, []).append(values)
    return Measured(limits, fused_limits, _pro(kept, masks) if masks is not None else {})


def _widened(known: Range | None, values: Tensor) -> Range:
    low, high = float(values.min()), float(values.max())
    return (low, high) if known is None else (min(low, known[0]), max(high, known[1]))


def _pro(kept: dict[str, list[Tensor]], masks: Sequence[Tensor]) -> dict[str, list[float]]:
    regions = number_regions(torch.stack(list(masks)))
    if not regions.any() or bool((regions > 0).all()):
        return {}
    curves = {}
    for name, batches in kept.items():
        fpr, overlap = pro_curve(torch.cat(batches), regions)
        curves[name] = np.interp(POINTS, fpr.numpy(), overlap.numpy()).tolist()
    return curves
