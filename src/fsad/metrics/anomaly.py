"""The five numbers of a category's test images, for several scored sets over one ground truth."""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics.classification import BinaryAUROC

from fsad.errors import ConfigError, RunError, check_at_least, check_shape
from fsad.metrics import METRICS
from fsad.metrics.masks import check_mask, dilate, number_regions
from fsad.metrics.pro import area_to, check_finite, pro_curve

log = logging.getLogger(__name__)

PART_MARGIN = 6  # pixels around the foreground that still belong to the part


def auroc(scores: Tensor, anomalous: Tensor) -> float:
    """Measure how often an anomalous item scores above a normal one, ties counting half.

    Args:
        scores: ``(n,)``, finite, any scale, higher = more anomalous.
        anomalous: ``(n,)``, bool, holding both values.

    Returns:
        Area under the receiver operating characteristic, in [0, 1].
    """
    # The defaults would squash scores outside [0, 1] by a sigmoid and bin them.
    metric = BinaryAUROC(thresholds=None, normalization=None)
    metric.update(scores, anomalous)
    return float(metric.compute())


def _one_sided(anomalous: Tensor, what: str) -> str | None:
    """Say why a ranking of ``anomalous`` against the rest is undefined, if it is."""
    count = int(anomalous.sum())
    if 0 < count < anomalous.numel():
        return None
    return (
        f"expected anomalous and defect-free {what}, got {count} anomalous of {anomalous.numel()}"
    )


class Evaluation:
    """Collects scores of test images and measures them once, at the end.

    Every scored set ("fused", "source_only", ...) is measured against the same labels, masks and
    parts, which are kept once. Whatever the batching, the numbers are the same.

    * ``image_auroc``: image scores against labels.
    * ``pixel_auroc``: all pixels of all images, pooled.
    * ``pixel_auroc_part``: of these, only the pixels on the part or within ``margin`` of it.
    * ``aupro30``, ``aupro05``: :func:`fsad.metrics.pro.area_to` 30 % and 5 % false positives.

    Args:
        names: The scored sets.
        margin: Pixels by which parts are dilated, at least 0.

    Raises:
        ConfigError: ``margin`` is not a whole number of at least 0.

    Note:
        Tensors are kept on the CPU, maps as float32: 0.2 MB per set and image of 224 × 224.
    """

    def __init__(self, names: Sequence[str], margin: int = PART_MARGIN) -> None:
        self.names = tuple(names)
        self.margin = check_at_least("margin", margin, 0)
        self.undefined: dict[str, str] = {}
        """Why a metric is ``None``, by metric; filled by :meth:`compute`."""
        self._truth: list[tuple[Tensor, Tensor, Tensor]] = []  # labels, masks, dilated parts
        self._scored: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in self.names}

    def update(
        self,
        labels: Tensor,
        masks: Tensor,
        parts: Tensor,
        scored: Mapping[str, tuple[Tensor, Tensor]],
    ) -> None:
        """Add a batch of test images.

        Args:
            labels: Whether the image shows a defect, ``(n,)``, bool.
            masks: Ground truth, ``(n, H, W)``, bool.
            parts: Where the part is, ``(n, H, W)``, bool, not dilated.
            scored: For each name the image scores ``(n,)`` and the anomaly maps ``(n, H, W)``;
                finite, any scale, higher = more anomalous.

        Raises:
            ConfigError: ``scored`` does not hold exactly the names of this evaluation.
            ShapeError: Shapes disagree, with each other or with earlier batches.
            DataError: ``masks`` or ``parts`` is not bool.
            NonFiniteError: A score is NaN or infinite.
        """
        if set(scored) != set(self.names):
            raise ConfigError(
                f"scored: expected {', '.join(self.names)}, got {', '.join(scored) or 'none'}"
            )
        n = check_shape("labels", labels, "n")["n"]
        size = (
            dict(zip(("H", "W"), self._truth[0][1].shape[1:], strict=True)) if self._truth else {}
        )
        size = check_mask("masks", masks, n=n, **size)
        check_mask("parts", parts, **size)
        for name, (image_scores, maps) in scored.items():
            check_shape(f"{name} image scores", image_scores, "n", n=n)
            check_shape(f"{name} maps", maps, "n H W", **size)
            check_finite(f"{name} image scores", image_scores)
            check_finite(f"{name} maps", maps)

        self._truth.append((labels.bool().cpu(), masks.cpu(), dilate(parts, self.margin).cpu()))
        for name, (image_scores, maps) in scored.items():
            self._scored[name].append((image_scores.detach().cpu(), maps.detach().float().cpu()))

    def compute(self) -> dict[str, dict[str, float | None]]:
        """Measure every scored set.

        Returns:
            For each name the five metrics, in [0, 1], higher = better; ``None`` where the images do
            not define one, with the reason in :attr:`undefined` and in the log.

        Raises:
            RunError: No image was added.
        """
        if not self._truth:
            raise RunError("evaluation: expected test images, got none. Call update first.")
        labels, masks, parts = (torch.cat(kind) for kind in zip(*self._truth, strict=True))
        on_part = masks[parts]
        pixels = _one_sided(masks, "pixels")
        reasons = {
            "image_auroc": _one_sided(labels, "images"),
            "pixel_auroc": pixels,
            "pixel_auroc_part": _one_sided(on_part, "pixels on the part"),
            "aupro30": pixels,
            "aupro05": pixels,
        }
        self.undefined = {metric: reason for metric, reason in reasons.items() if reason}
        for metric, reason in self.undefined.items():
            log.warning("%s is undefined: %s", metric, reason)

        regions = number_regions(masks)
        results: dict[str, dict[str, float | None]] = {}
        for name, batches in self._scored.items():
            image_scores, maps = (torch.cat(kind) for kind in zip(*batches, strict=True))
            result: dict[str, float | None] = dict.fromkeys(METRICS)
            if "image_auroc" not in self.undefined:
                result["image_auroc"] = auroc(image_scores, labels)
            if "pixel_auroc_part" not in self.undefined:
                result["pixel_auroc_part"] = auroc(maps[parts], on_part)
            if not pixels:
                curve = pro_curve(maps, regions)
                result["pixel_auroc"] = auroc(maps.flatten(), masks.flatten())
                result["aupro30"] = area_to(0.30, *curve)
                result["aupro05"] = area_to(0.05, *curve)
            results[name] = result
        return results
