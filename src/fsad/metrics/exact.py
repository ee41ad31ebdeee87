"""The pixel metrics from all scores at once: exact, with memory that grows with the images."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics.classification import BinaryAUROC

from fsad.metrics import Measured
from fsad.metrics.masks import number_regions
from fsad.metrics.pro import LIMITS, area_to, pro_curve


def auroc(scores: Tensor, anomalous: Tensor) -> float:
    """Measure how often an anomalous item scores above a normal one, ties counting half.

    Args:
        scores: ``(n,)``, finite, any scale, higher = more anomalous.
        anomalous: ``(n,)``, bool, holding both values.

    Returns:
        Area under the receiver operating characteristic, in [0, 1].
    """
    # The defaults would squash scores outside [0, 1] by a sigmoid and bin them.
    # The first of several processes measures alone; torchmetrics would wait for the others.
    metric = BinaryAUROC(thresholds=None, normalization=None, sync_on_compute=False)
    metric.update(scores, anomalous)
    return float(metric.compute())


class ExactPixels:
    """Keeps every map and sorts them in the end.

    Args:
        names: The scored sets.

    Note:
        0.2 MB per set and image of 224 × 224, and the time of two sorts of all pixels per set.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._truth: list[tuple[Tensor, Tensor]] = []  # masks, parts
        self._maps: dict[str, list[Tensor]] = {name: [] for name in names}

    def update(self, masks: Tensor, parts: Tensor, maps: Mapping[str, Tensor]) -> None:
        """Keep a batch: masks and parts ``(n, H, W)``, bool, and each set's maps."""
        self._truth.append((masks, parts))
        for name, batches in self._maps.items():
            batches.append(maps[name])

    def compute(self, metrics: Collection[str]) -> dict[str, dict[str, Measured]]:
        """Measure those of the metrics that are defined, for each set."""
        if not self._truth:  # no test image, so that no metric is defined
            return {name: {} for name in self._maps}
        masks, parts = (_flat(kind) for kind in zip(*self._truth, strict=True))
        regions = _flat(_consecutive([number_regions(batch) for batch, _ in self._truth]))
        results: dict[str, dict[str, Measured]] = {}
        for name, batches in self._maps.items():
            maps = _flat(batches)
            values: dict[str, float] = {}
            if "pixel_auroc_part" in metrics:
                values["pixel_auroc_part"] = auroc(maps[parts], masks[parts])
            if "pixel_auroc" in metrics:
                values["pixel_auroc"] = auroc(maps, masks)
            if curves := [metric for metric in LIMITS if metric in metrics]:
                curve = pro_curve(maps, regions)
                values |= {metric: area_to(LIMITS[metric], *curve) for metric in curves}
            results[name] = {metric: Measured(value, 0.0) for metric, value in values.items()}
        return results


def _flat(batches: Iterable[Tensor]) -> Tensor:
    """Put the pixels of batches, which may be of other sizes, in one row."""
    return torch.cat([batch.flatten() for batch in batches])


def _consecutive(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Go on counting the regions of one batch in the next."""
    count = 0
    for regions in batches:
        yield torch.where(regions > 0, regions + count, 0)
        count += int(regions.max()) if regions.numel() else 0
