"""What a test loop gathers: both domains' patch scores, the fused ones, and their metrics."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from fsad.data.pairs import TestBatch
from fsad.functional.scoring import anomaly_maps, blur, fuse, image_scores
from fsad.metrics.anomaly import Evaluation

SETS = ("fused", "source_only", "target_only", "part_mask")


@dataclass(frozen=True)
class ImageScore:
    """The scores of one test image; higher = more anomalous.

    Attributes:
        index: Position in the test samples.
        fused: Fused image score.
        source: Score against the source bank.
        target: Score against the target bank.
    """

    index: int
    fused: float
    source: float
    target: float


class ScoredImages:
    """Scores of a category's test images, and the metrics over them.

    Four sets are measured: the fused score, each domain's alone, and the blurred part mask, which
    tells how far "is this the part?" alone would come.

    Args:
        size: Height and width of the anomaly maps in pixels.
        sigma: Blur of the maps in pixels.
    """

    def __init__(self, size: int, sigma: float) -> None:
        self.size, self.sigma = size, sigma
        self.evaluation = Evaluation(SETS)
        self.images: list[ImageScore] = []
        self.metrics: dict[str, dict[str, float | None]] = {}
        self.seconds = 0.0  # spent on metrics
        self.source_share = 0.0
        self.beta = 0.0
        self._patches: list[tuple[Tensor, Tensor]] = []

    def update(self, batch: TestBatch, source: Tensor, target: Tensor, beta: float) -> None:
        """Add a batch.

        Args:
            batch: The test batch.
            source: Patch scores against the source bank, ``(n, h, w)``.
            target: Patch scores against the target bank, ``(n, h, w)``.
            beta: Share of the source domain.
        """
        self.beta = beta
        per_domain = {"source_only": source, "target_only": target}
        scored = {
            name: (image_scores(patches), anomaly_maps(patches, self.size, self.sigma))
            for name, patches in per_domain.items()
        }
        both = zip(scored["source_only"], scored["target_only"], strict=True)
        score, maps = (fuse(of_source, of_target, beta) for of_source, of_target in both)
        scored["fused"] = score, maps  # eqs. (18), (19)
        part = blur(batch.part.to(source.dtype), self.sigma)
        scored["part_mask"] = image_scores(part), part
        start = time.perf_counter()
        self.evaluation.update(batch.label, batch.mask, batch.part, scored)
        self.seconds += time.perf_counter() - start
        columns = (batch.index, score, scored["source_only"][0], scored["target_only"][0])
        self.images += [
            ImageScore(int(i), *values)
            for i, *values in zip(*(column.tolist() for column in columns), strict=True)
        ]
        self._patches.append((source.cpu(), target.cpu()))

    def compute(self) -> None:
        """Measure everything gathered, once."""
        start = time.perf_counter()
        self.metrics = self.evaluation.compute()
        source, target = self.patches()
        spreads = self.beta * source.std(), (1 - self.beta) * target.std()
        total = float(spreads[0] + spreads[1])
        self.source_share = float(spreads[0]) / total if total > 0 else 0.0
        self.seconds += time.perf_counter() - start

    def patches(self) -> tuple[Tensor, Tensor]:
        """Return all patch scores, source then target, each ``(n, h, w)``."""
        source, target = zip(*self._patches, strict=True)
        return torch.cat(source), torch.cat(target)
