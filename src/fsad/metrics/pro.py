"""Area under the per-region overlap curve (AU-PRO), exact: one sort, no threshold grid."""

import numpy as np
import torch
from torch import Tensor

from fsad.errors import ConfigError, NonFiniteError

LIMITS = {"aupro30": 0.30, "aupro05": 0.05}
"""Up to which false-positive rate the reported metrics go."""


def check_finite(name: str, scores: Tensor) -> None:
    """Refuse scores that cannot be ranked.

    Raises:
        NonFiniteError: A score is NaN or infinite.
    """
    values = scores.detach().float().cpu().numpy()
    if values.size and np.isfinite([values.min(), values.max()]).all():
        return  # both would be NaN if one value were; this is ten times as fast as to count
    bad = scores.numel() - int(torch.isfinite(scores).sum())
    if bad:
        raise NonFiniteError(
            f"{name}: expected finite scores, got {bad} NaN or infinite of {scores.numel()}"
        )


def pro_curve(maps: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    r"""Trace per-region overlap against false-positive rate while the threshold falls.

    .. math:: \mathrm{PRO}(t) = \frac1R \sum_{r=1}^R \frac{|\{p \in r : s_p \ge t\}|}{|r|}, \qquad
              \mathrm{FPR}(t) = \frac{|\{p \notin \cup r : s_p \ge t\}|}{|\{p \notin \cup r\}|}

    with one point for each distinct score and (0, 0) in front. FPR counts the defect-free pixels of
    all images, those of images with a defect too.

    Args:
        maps: Anomaly maps, ``(n, H, W)``, finite, any scale, higher = more anomalous.
        regions: Region of each pixel, ``(n, H, W)``, as
            :func:`fsad.metrics.masks.number_regions` gives them, with at least one region and one
            defect-free pixel.

    Returns:
        FPR and PRO, ``(p,)`` each, float64, never falling, from 0 to 1.

    Note:
        Time is that of one sort of all pixels.
    """
    scores, order = maps.flatten().sort(descending=True)
    region = regions.flatten()[order]
    sizes = regions.flatten().bincount().double()
    gain = 1 / (sizes * (sizes.numel() - 1))  # what one pixel adds to PRO
    gain[0] = 0
    last = torch.ones_like(scores, dtype=torch.bool)  # of its tie: a threshold cannot part a tie
    last[:-1] = scores[1:] != scores[:-1]
    fpr = (region == 0).cumsum(0)[last] / sizes[0]
    pro = gain[region].cumsum(0)[last]
    start = torch.zeros(1, dtype=torch.float64)
    return torch.cat([start, fpr]), torch.cat([start, pro])


def area_to(limit: float, fpr: Tensor, pro: Tensor) -> float:
    r"""Measure AU-PRO: integrate PRO over FPR from 0 to a limit and divide by the limit.

    .. math:: \frac1\ell \int_0^\ell \mathrm{PRO} \; d\,\mathrm{FPR}

    The curve is linear between its points, also where the limit cuts it.

    Laws (``tests/metrics``): a map that ranks every anomalous pixel above every other scores 1;
    a constant map scores :math:`\ell/2`; an increasing function of the map changes nothing.

    Args:
        limit: Largest false-positive rate :math:`\ell`, in (0, 1].
        fpr: False-positive rates, ``(p,)``, float64, never falling, from 0 to 1.
        pro: Per-region overlaps, ``(p,)``, float64.

    Returns:
        AU-PRO, in [0, 1], higher = better.

    Raises:
        ConfigError: ``limit`` is outside (0, 1].

    Source:
        Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, section 4.3. Their
        implementation takes 100 thresholds uniform in FPR, which is coarse at small limits.
    """
    if not 0 < limit <= 1:
        raise ConfigError(f"limit: expected a number in (0, 1], got {limit!r}")
    inside = int(torch.searchsorted(fpr, limit, right=True))  # points at or before the limit
    area = torch.trapezoid(pro[:inside], fpr[:inside])
    if inside < fpr.numel():
        before, after = inside - 1, inside
        share = (limit - fpr[before]) / (fpr[after] - fpr[before])
        at_limit = torch.lerp(pro[before], pro[after], share)
        area = area + (limit - fpr[before]) * (pro[before] + at_limit) / 2
    return float(area / limit)
