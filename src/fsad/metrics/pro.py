"""Area under the per-region overlap curve (AU-PRO), exact: one sort, no threshold grid."""

import torch
from torch import Tensor

from fsad.errors import ConfigError, DataError, NonFiniteError, check_shape
from fsad.metrics.masks import number_regions


def check_finite(name: str, scores: Tensor) -> None:
    """Refuse scores that cannot be ranked.

    Raises:
        NonFiniteError: A score is NaN or infinite.
    """
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
        maps: Anomaly maps, ``(n, H, W)``, finite, higher = more anomalous.
        regions: Region of each pixel, ``(n, H, W)``, as :func:`number_regions` gives them, with at
            least one region and one defect-free pixel.

    Returns:
        FPR and PRO, ``(p,)`` each, float64, never falling, from 0 to 1.
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
    r"""Integrate PRO over FPR from 0 to ``limit`` and divide by ``limit``.

    The curve is linear between its points, also where the limit cuts it.

    Args:
        limit: Largest false-positive rate, in (0, 1].
        fpr: False-positive rates, ``(p,)``, float64, never falling, from 0 to 1.
        pro: Per-region overlaps, ``(p,)``, float64.

    Returns:
        The normalised area, in [0, 1], higher = better.

    Raises:
        ConfigError: ``limit`` is outside (0, 1].
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


def aupro(maps: Tensor, masks: Tensor, limit: float) -> float:
    r"""Measure AU-PRO over pooled images.

    .. math:: \frac1\ell \int_0^\ell \mathrm{PRO} \; d\,\mathrm{FPR}

    Laws (``tests/test_pro.py``): a map that ranks every anomalous pixel above every other scores 1;
    a constant map scores :math:`\ell/2`; an increasing function of the map changes nothing.

    Args:
        maps: Anomaly maps, ``(n, H, W)``, finite, any scale, higher = more anomalous.
        masks: Ground truth, ``(n, H, W)``, bool.
        limit: Largest false-positive rate :math:`\ell`, in (0, 1].

    Returns:
        AU-PRO, in [0, 1], higher = better.

    Raises:
        ShapeError: ``maps`` and ``masks`` differ in shape.
        DataError: ``masks`` is not bool, or lacks anomalous or defect-free pixels.
        NonFiniteError: A score is NaN or infinite.
        ConfigError: ``limit`` is outside (0, 1].

    Note:
        Time is that of one sort of all pixels.

    Source:
        Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, section 4.3. Their
        implementation takes 100 thresholds uniform in FPR, which is coarse at small limits.
    """
    regions = number_regions(masks)
    n, H, W = masks.shape
    check_shape("maps", maps, "n H W", n=n, H=H, W=W)
    check_finite("maps", maps)
    anomalous = int(masks.sum())
    if not 0 < anomalous < masks.numel():
        raise DataError(
            "masks: expected anomalous and defect-free pixels, "
            f"got {anomalous} anomalous of {masks.numel()}"
        )
    return area_to(limit, *pro_curve(maps.detach().cpu(), regions))
