"""The pixel metrics from histograms: memory that does not grow with the images."""

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from fsad.metrics import Measured
from fsad.metrics.histogram import ScoreHistogram
from fsad.metrics.pixels import Pixels
from fsad.metrics.pro import LIMITS


class BinnedPixels:
    """Keeps one histogram per scored set.

    Args:
        names: The scored sets.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.histograms = {name: ScoreHistogram() for name in names}

    def update(self, masks: Tensor, parts: Tensor, maps: Mapping[str, Tensor]) -> None:
        """Count a batch: masks and parts ``(n, H, W)``, bool, and each set's maps."""
        pixels = Pixels.of(masks, parts)
        for name, histogram in self.histograms.items():
            histogram.update(maps[name], pixels)

    def compute(self, metrics: Collection[str]) -> dict[str, dict[str, Measured]]:
        """Measure those of the metrics that are defined, for each set."""
        results: dict[str, dict[str, Measured]] = {}
        for name, histogram in self.histograms.items():
            result: dict[str, Measured] = {}
            if "pixel_auroc_part" in metrics:
                result["pixel_auroc_part"] = histogram.auroc(on_part=True)
            if "pixel_auroc" in metrics:
                result["pixel_auroc"] = histogram.auroc()
            for metric, limit in LIMITS.items():
                if metric in metrics:
                    result[metric] = histogram.aupro(limit)
            results[name] = result
        return results
