"""What a test yields: both domains' patch scores, then the fused ones and their metrics."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fsad.data.pairs import Truth
from fsad.functional.scoring import anomaly_maps, blur, fuse, image_scores
from fsad.metrics.anomaly import Evaluation
from fsad.processes import gather

SETS = ("fused", "source_only", "target_only", "part_mask")


class PatchScores:
    """Both domains' patch scores, gathered batch by batch from a test loop.

    Note:
        Two float32 per patch: 6 KB per image of 28 × 28 patches.
    """

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def update(self, index: Tensor, source: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            index: Positions in the test samples, ``(n,)``.
            source: Patch scores against the source bank, ``(n, h, w)``, higher = more anomalous.
            target: Patch scores against the target bank, ``(n, h, w)``.
        """
        self._batches.append((index.to(source.device), source.float(), target.float()))

    def gathered(self, images: int, device: torch.device) -> dict[str, Tensor] | None:
        """Bring the scores of all processes together.

        Args:
            images: How many test images there are.
            device: Where this process computes.

        Returns:
            ``source`` and ``target``, each ``(images, h, w)`` in the order of the test samples, in
            the first process; None in the others.
        """
        own = [torch.cat(column) for column in zip(*self._batches, strict=True)]
        gathered = [gather(column.to(device), images) for column in own]
        parts = [torch.cat(parts).cpu() for parts in gathered if parts is not None]
        if not parts:
            return None
        index, source, target = parts
        order = index.argsort()
        return {"source": source[order], "target": target[order]}


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
    tells how far "is this the part?" alone would come. Maps are measured and forgotten.

    Args:
        size: Height and width of the anomaly maps in pixels.
        sigma: Blur of the maps in pixels.
        beta: Share of the source domain in the fused score.
        exact: Keep and sort every pixel, instead of counting scores in fine bins.
    """

    def __init__(self, size: int, sigma: float, beta: float, exact: bool = False) -> None:
        self.size, self.sigma, self.beta = size, sigma, beta
        self.evaluation = Evaluation(SETS, exact=exact)
        self.images: list[ImageScore] = []
        self.limits: dict[str, tuple[float, float]] = {}
        """The lowest and the highest value of each set's maps."""

    def update(self, truth: Truth, source: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            truth: Ground truth of the images.
            source: Patch scores against the source bank, ``(n, h, w)``.
            target: Patch scores against the target bank, ``(n, h, w)``.
        """
        scored = {
            "source_only": (image_scores(source), self.maps(source)),
            "target_only": (image_scores(target), self.maps(target)),
        }
        both = zip(scored["source_only"], scored["target_only"], strict=True)
        score, maps = (fuse(of_source, of_target, self.beta) for of_source, of_target in both)
        scored["fused"] = score, maps  # eqs. (18), (19)
        part = blur(truth.part.to(source.dtype), self.sigma)
        scored["part_mask"] = image_scores(part), part
        self.evaluation.update(truth.label, truth.mask, truth.part, scored)
        for name, (_, values) in scored.items():
            low, high = self.limits.get(name, (float("inf"), float("-inf")))
            self.limits[name] = min(low, float(values.min())), max(high, float(values.max()))
        columns = (truth.index, score, scored["source_only"][0], scored["target_only"][0])
        self.images += [
            ImageScore(int(i), *values)
            for i, *values in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def maps(self, patches: Tensor) -> Tensor:
        """Enlarge and blur patch scores ``(n, h, w)`` to anomaly maps ``(n, S, S)``."""
        return anomaly_maps(patches, self.size, self.sigma)

    def compute(self) -> dict[str, dict[str, float | None]]:
        """Return the five metrics of each set, over everything added."""
        return self.evaluation.compute()


def source_share(source: Tensor, target: Tensor, beta: float) -> float:
    """Measure how much of the fused score's spread comes from the source domain.

    Args:
        source: Patch scores against the source bank, any shape.
        target: Patch scores against the target bank.
        beta: Share of the source domain in the fused score.

    Returns:
        Share in [0, 1]: with both spreads equal it is beta.
    """
    spreads = beta * source.std(), (1 - beta) * target.std()
    total = float(spreads[0] + spreads[1])
    return float(spreads[0]) / total if total > 0 else 0.0
