"""What the page cannot know from a few maps: their range over all test images, and PRO curves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsad.functional.scoring import anomaly_maps, fuse
from fsad.metrics.masks import number_regions
from fsad.report.scores import CategoryScores

BATCH = 16  # images whose maps are made at once
STEPS = 10  # intervals of the share at whose ends the mixed maps are measured
POINTS = np.concatenate([np.linspace(0, 0.05, 51), np.linspace(0.05, 0.3, 51)[1:]])
"""False-positive rates at which a PRO curve is drawn."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """What is measured over all maps of a category.

    Attributes:
        limits: Lowest and highest value of each part's maps.
        fused_limits: Those of the maps mixed of two parts, by the share of the first, rising.
            Between two shares the highest is convex and the lowest concave: lines between them
            enclose every map. Empty where the parts are not mixed.
        pro: Mean overlap with the defects' regions at ``POINTS``, by part; empty without ground
            truth.
        fused_pro: The same of the mixed maps, by share, rising.
    """

    limits: dict[str, Range]
    fused_limits: dict[float, Range]
    pro: dict[str, list[float]]
    fused_pro: dict[float, list[float]]


def measure(
    scores: CategoryScores,
    size: int | tuple[int, int],
    masks: Sequence[Tensor] | None,
    areas: Sequence[tuple[int, int]] = (),
) -> Measured:
    """Make all maps of a category once, and forget them.

    Args:
        scores: Of its test images.
        size: Height and width of the maps, pixels.
        masks: Ground truth of each image, ``(H, W)``, bool, or None.
        areas: Height and width of each image on its map, from the upper left corner, pixels;
            omitted, the map's.

    Note:
        With ground truth of two parts it holds up to six maps of every test image at a time: 1.2 MB
        an image of 224 × 224.
    """
    mix = scores.mix
    shares = sorted({step / STEPS for step in range(STEPS + 1)} | {mix.share}) if mix else []
    limits: dict[str, Range] = {}
    fused_limits: dict[float, Range] = {}
    kept: dict[str, list[Tensor]] = {}
    for first in range(0, len(scores.images), BATCH):
        maps = {
            name: anomaly_maps(part.patches[first : first + BATCH], size, scores.sigma)
            for name, part in scores.parts.items()
        }
        for name, values in maps.items():
            limits[name] = _widened(limits.get(name), values)
        if mix:
            for share in shares:
                values = fuse(maps[mix.first], maps[mix.second], share)
                fused_limits[share] = _widened(fused_limits.get(share), values)
        if masks is not None:
            for name, values in maps.items():
                kept.setdefault(name, []).append(values)
    whole = {name: torch.cat(batches) for name, batches in kept.items()}
    regions = _regions(masks, areas) if masks is not None else torch.zeros(1)
    if not (regions > 0).any() or not (regions == 0).any():
        return Measured(limits, fused_limits, {}, {})
    pro = {name: overlaps(maps, regions) for name, maps in whole.items()}
    fused_pro: dict[float, list[float]] = {}
    if mix:
        both = whole[mix.first], whole[mix.second]
        fused_pro = {share: overlaps(fuse(*both, share), regions) for share in shares}
    return Measured(limits, fused_limits, pro, fused_pro)


def _regions(masks: Sequence[Tensor], areas: Sequence[tuple[int, int]]) -> Tensor:
    """Number the defects' regions of all images, ``(n, H, W)``: 0 is good, -1 beside an image."""
    regions = number_regions(torch.stack(list(masks)))
    for image, (height, width) in zip(regions, areas, strict=False):
        image[height:] = -1
        image[:, width:] = -1
    return regions


def _widened(known: Range | None, values: Tensor) -> Range:
    low, high = float(values.min()), float(values.max())
    return (low, high) if known is None else (min(low, known[0]), max(high, known[1]))


def overlaps(maps: Tensor, regions: Tensor) -> list[float]:
    """Read :func:`fsad.metrics.pro.pro_curve` at ``POINTS``, in a fifth of its time.

    Only the defect-free pixels are sorted, and only by value; the anomalous ones, which are few,
    are then counted above the scores at which the false-positive rate passes a point.

    Args:
        maps: Anomaly maps, ``(n, H, W)``, finite, higher = more anomalous.
        regions: Region of each pixel, ``(n, H, W)``; at least one, and one defect-free pixel. Those
            below 0 are not counted.
    """
    scores, region = maps.numpy().ravel(), regions.numpy().ravel()
    good, bad = np.sort(scores[region == 0]), scores[region > 0]
    order = bad.argsort()
    bad, of = bad[order], region[region > 0][order]
    gain = 1 / (np.bincount(of)[of] * of.max())  # what one pixel adds to the mean overlap
    above = np.append(gain[::-1].cumsum()[::-1], 0)  # what those from each place on add
    passed = POINTS * len(good)  # defect-free pixels above the threshold
    score = good[len(good) - 1 - passed.astype(int)]  # the next one's, with all of its tie
    fewer, more = (len(good) - good.searchsorted(score, side) for side in ("right", "left"))
    low, high = (above[bad.searchsorted(score, side)] for side in ("right", "left"))
    found: list[float] = (low + (passed - fewer) / (more - fewer) * (high - low)).tolist()
    return found
