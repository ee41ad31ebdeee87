"""The five numbers of a category's test images, for several scored sets over one ground truth."""

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fsad.errors import ConfigError, check_at_least, check_bool, check_shape
from fsad.metrics import METRICS, Measured
from fsad.metrics.binned import BinnedPixels
from fsad.metrics.exact import ExactPixels, auroc
from fsad.metrics.masks import check_mask, dilate
from fsad.metrics.pro import check_finite

log = logging.getLogger(__name__)

WHOLE_IMAGES = "the method scores whole images and has no map"
NO_PART = "neither depth nor a mask tells where the part is"
PART_MARGIN = 6  # pixels around the foreground that still belong to the part


def _one_sided(anomalous: int, total: int, what: str) -> str | None:
    """Say why a ranking of the anomalous against the rest is undefined, if it is."""
    if 0 < anomalous < total:
        return None
    if not total:
        return f"there is no test {what}"
    return f"no test {what} is {'good' if anomalous else 'defective'}"


class Evaluation:
    """Collects scores of test images and measures them once, at the end.

    Every scored set ("fused", "source_only", ...) is measured against the same labels, masks and
    parts. Whatever the batching, the numbers are the same.

    * ``image_auroc``: image scores against labels.
    * ``pixel_auroc``: all pixels of all images, pooled.
    * ``pixel_auroc_part``: of these, only the pixels on the part or within ``margin`` of it.
    * ``aupro30``, ``aupro05``: :func:`fsad.metrics.pro.area_to` 30 % and 5 % false positives.

    A metric that the images do not define is ``None``. Pixel metrics are so too where a defective
    image has no mask, or an empty one: over the other images they would be those of a data set that
    nobody chose, and over all of them its defect would count as good.

    Image scores are kept and measured exactly. Pixels are counted in a histogram per set
    (:class:`fsad.metrics.histogram.ScoreHistogram`), which brings its own error bound, or with
    ``exact`` are kept and sorted.

    Args:
        names: The scored sets.
        margin: Pixels by which parts are dilated, at least 0.
        exact: Keep every map rather than a histogram.
        mapless: Those of the sets that have image scores alone; their pixel metrics are ``None``.
        parts_known: Whether it is known where the part is; otherwise ``pixel_auroc_part`` is
            ``None``.

    Raises:
        ConfigError: ``margin`` is not a whole number of at least 0, or ``exact`` not a bool.

    Note:
        State is 3.8 MB per set whatever the number of images, besides their image scores (4 bytes
        per set and image). With ``exact`` it is 0.2 MB per set and image of 224 × 224.

    Examples:
        >>> import torch
        >>> import fsad
        >>> masks = torch.zeros(2, 16, 16, dtype=torch.bool)  # a good image, a defective one
        >>> masks[1, 4:8, 4:8] = True
        >>> scores = torch.tensor([0.1, 0.9])
        >>> evaluation = fsad.Evaluation(["mine"])
        >>> labels, maps = masks.any(dim=(1, 2)), masks.float()
        >>> evaluation.update(labels, masks, masks, {"mine": (scores, maps)})
        >>> evaluation.compute()["mine"]["image_auroc"]
        1.0
    """

    def __init__(
        self,
        names: Sequence[str],
        margin: int = PART_MARGIN,
        *,
        exact: bool = False,
        mapless: Collection[str] = (),
        parts_known: bool = True,
    ) -> None:
        self.names, self.mapless = tuple(names), frozenset(mapless)
        self.margin = check_at_least("margin", margin, 0)
        self.parts_known = parts_known
        self.undefined: dict[str, str] = {}
        """Why a metric is ``None``, by metric; filled by :meth:`compute`."""
        self.bounds: dict[str, dict[str, float]] = {}
        """How far a set's metrics can lie from those of the unbinned scores, by set and metric;
        filled by :meth:`compute`."""
        exact = check_bool("exact", exact)
        mapped = [name for name in names if name not in self.mapless]
        self._pixels = ExactPixels(mapped) if exact else BinnedPixels(mapped)
        self._size: dict[str, int] = {}  # of the images
        self._anomalous = np.zeros(2, np.int64)  # pixels: everywhere, on the part
        self._total = np.zeros(2, np.int64)
        self._labels: list[Tensor] = []
        self._unknown = {"no": 0, "an empty": 0}  # defective images, by the mask that they have
        self._image_scores: dict[str, list[Tensor]] = {name: [] for name in self.names}

    def update(
        self,
        labels: Tensor,
        masks: Tensor,
        parts: Tensor,
        scored: Mapping[str, tuple[Tensor, Tensor | None]],
        masked: Tensor | None = None,
        areas: Tensor | None = None,
    ) -> None:
        """Add a batch of test images.

        Law: what masks, parts and maps hold beside an image's area changes nothing.

        Args:
            labels: Whether the image shows a defect, ``(n,)``, bool.
            masks: Ground truth, ``(n, H, W)``, bool.
            parts: Where the part is, ``(n, H, W)``, bool, not dilated.
            scored: For each name the image scores ``(n,)`` and the anomaly maps ``(n, H, W)``, or
                None of the mapless; finite, any scale, higher = more anomalous. Maps are taken as
                float32.
            areas: Height and width of each image, from the upper left corner, pixels, ``(n, 2)``,
                whole numbers of at least 1; omitted, ``H`` and ``W``.
            masked: Whether it is known which pixels of the image are defective, ``(n,)``, bool;
                omitted, of all. The masks of the others say nothing, nor does an empty one of an
                image with a defect.

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
        size = check_mask("masks", masks, n=n, **self._size)
        check_mask("parts", parts, **size)
        for name, (image_scores, maps) in scored.items():
            check_shape(f"{name} image scores", image_scores, "n", n=n)
            check_finite(f"{name} image scores", image_scores)
            if maps is not None:
                check_shape(f"{name} maps", maps, "n H W", **size)
                check_finite(f"{name} maps", maps)

        self._size = {axis: size[axis] for axis in ("H", "W")}
        if areas is None:
            areas = torch.tensor([[size["H"], size["W"]]]).expand(n, 2)
        check_shape("areas", areas, "n two", n=n, two=2)
        for height, width in sorted({(int(area[0]), int(area[1])) for area in areas}):
            rows = (areas == torch.tensor([height, width])).all(dim=1)
            self._add(
                labels[rows],
                masks[rows, :height, :width],
                parts[rows, :height, :width],
                {
                    name: (images[rows], None if maps is None else maps[rows, :height, :width])
                    for name, (images, maps) in scored.items()
                },
                None if masked is None else masked[rows],
            )

    def _add(
        self,
        labels: Tensor,
        masks: Tensor,
        parts: Tensor,
        scored: Mapping[str, tuple[Tensor, Tensor | None]],
        masked: Tensor | None,
    ) -> None:
        """Add images of one size."""
        n = len(labels)
        known = torch.ones(n, dtype=torch.bool) if masked is None else masked.cpu()
        empty = labels.bool().cpu() & known & ~masks.cpu().flatten(1).any(dim=1)
        self._unknown["no"] += int((~known).sum())
        self._unknown["an empty"] += int(empty.sum())
        masks, parts = masks.cpu(), dilate(parts, self.margin).cpu()
        defect, near = masks.numpy(), parts.numpy()
        self._anomalous += np.array([np.count_nonzero(defect), np.count_nonzero(defect & near)])
        self._total += np.array([defect.size, np.count_nonzero(near)])
        self._labels.append(labels.bool().cpu())
        for name, (image_scores, _) in scored.items():
            self._image_scores[name].append(image_scores.detach().cpu())
        maps_only = {
            name: maps.detach().float().cpu()
            for name, (_, maps) in scored.items()
            if maps is not None
        }
        self._pixels.update(masks, parts, maps_only)

    def compute(self) -> dict[str, dict[str, float | None]]:
        """Measure every scored set.

        Returns:
            For each name the five metrics, in [0, 1], higher = better; ``None`` where the images do
            not define one, with the reason in :attr:`undefined` and in the log.
        """
        labels = torch.cat(self._labels) if self._labels else torch.zeros(0, dtype=torch.bool)
        image = _one_sided(int(labels.sum()), len(labels), "image")
        # Good images alone have good pixels alone: that is one reason, said once.
        unknown = (image if not labels.any() else None) or self._why_unknown(labels)
        pixels, on_part = (
            unknown or _one_sided(int(anomalous), int(total), what)
            for anomalous, total, what in zip(
                self._anomalous, self._total, ("pixel", "pixel on the part"), strict=True
            )
        )
        reasons = {
            "image_auroc": image,
            "pixel_auroc": pixels,
            "pixel_auroc_part": on_part if self.parts_known or pixels else NO_PART,
            "aupro30": pixels,
            "aupro05": pixels,
        }
        self.undefined = {metric: reason for metric, reason in reasons.items() if reason}
        for reason in dict.fromkeys(self.undefined.values()):  # each said once
            metrics = [metric for metric, why in self.undefined.items() if why == reason]
            log.warning("%s undefined: %s", ", ".join(metrics), reason)
        defined = [metric for metric in METRICS if metric not in self.undefined]
        measured = self._pixels.compute(defined)  # of none, where nothing was added
        measured = {name: measured.get(name, {}) for name in self.names}
        if self.names[0] in self.mapless:  # the method's own, which the reasons are given for
            without = [metric for metric in defined if metric != "image_auroc"]
            self.undefined |= dict.fromkeys(without, WHOLE_IMAGES)
        if "image_auroc" in defined:
            for name, scores in self._image_scores.items():
                measured[name]["image_auroc"] = Measured(auroc(torch.cat(scores), labels), 0.0)
        self.bounds = {
            name: {metric: number.error for metric, number in numbers.items()}
            for name, numbers in measured.items()
        }
        return {
            name: {
                metric: numbers[metric].value if metric in numbers else None for metric in METRICS
            }
            for name, numbers in measured.items()
        }

    def _why_unknown(self, labels: Tensor) -> str | None:
        """Say how many defective images do not tell which of their pixels are; None if all do."""
        defective = int(labels.sum())
        reasons = [
            f"{count} of {defective} defective test images {'has' if count == 1 else 'have'} "
            f"{what} mask"
            for what, count in self._unknown.items()
            if count
        ]
        return ", ".join(reasons) or None
