"""The scores of a category's test images, held against the truth."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from fsad.data.batch import Truth
from fsad.functional.scoring import blur, image_scores
from fsad.metrics.anomaly import Evaluation
from fsad.scores.combination import MapMaker
from fsad.scores.score_set import ScoreSet

MAIN = "fused"
"""The set of the method's own scores."""


@dataclass(frozen=True)
class ImageScore:
    """The scores of one test image; higher = more anomalous.

    Attributes:
        index: Position in the test samples.
        main: The method's own image score.
        parts: The scores it is made of, by name.
    """

    index: int
    main: float
    parts: Mapping[str, float]


class ScoredImages:
    """Scores of a category's test images, and the metrics over them.

    The method's own score is measured, each part's alone, and the blurred part mask, which tells
    how far "is this the part?" alone would come. With one part, its score is the method's. Maps are
    measured and forgotten.

    Args:
        maker: How patch scores become maps, and parts one.
        scores: Of all test images, to see which parts there are and which have maps.
        exact: Keep and sort every pixel, instead of counting scores in fine bins.
    """

    def __init__(self, maker: MapMaker, scores: ScoreSet, exact: bool = False) -> None:
        self.maker = maker
        self.parts = tuple(scores)
        mapless = {set_of(name) for name, each in scores.items() if each.patches is None}
        if mapless:
            mapless.add(MAIN)
        sets = (MAIN, *map(set_of, scores), "part_mask")
        self.evaluation = Evaluation(sets, exact=exact, mapless=mapless)
        self.images: list[ImageScore] = []
        self.limits: dict[str, tuple[float, float]] = {}
        """The lowest and the highest value of each set's maps."""

    def update(self, truth: Truth, scores: ScoreSet) -> None:
        """Add a batch.

        Args:
            truth: Ground truth of the images.
            scores: Theirs.
        """
        maps = self.maker.part_maps(scores)
        images = {name: each.images for name, each in scores.items()}
        main = self.maker.combination.combine(images)
        part = blur(truth.part.to(main.dtype), self.maker.sigma)
        scored: dict[str, tuple[Tensor, Tensor | None]] = {
            MAIN: (main, self.maker.combined_maps(maps, scores)),
            **{set_of(name): (each, maps.get(name)) for name, each in images.items()},
            "part_mask": (image_scores(part), part),
        }
        self.evaluation.update(truth.label, truth.mask, truth.part, scored, truth.masked)
        for name, (_, values) in scored.items():
            if values is not None:
                low, high = self.limits.get(name, (float("inf"), float("-inf")))
                self.limits[name] = min(low, float(values.min())), max(high, float(values.max()))
        for place, index in enumerate(truth.index):
            of_parts = {name: float(each[place]) for name, each in images.items()}
            self.images.append(ImageScore(int(index), float(main[place]), of_parts))

    def compute(self) -> dict[str, dict[str, float | None]]:
        """Return the five metrics of each set, over everything added."""
        return self.evaluation.compute()


def set_of(part: str) -> str:
    """Name the scored set of a part alone."""
    return f"{part}_only"


def source_share(scores: ScoreSet, beta: float) -> float | None:
    """Measure how much of the fused score's spread comes from the source domain.

    Args:
        scores: Of the test images.
        beta: Share of the source domain in the fused score.

    Returns:
        Share in [0, 1]: with both spreads equal it is beta. None but with patch scores of the parts
        ``source`` and ``target``.
    """
    if set(scores) != {"source", "target"}:
        return None
    source, target = scores["source"].patches, scores["target"].patches
    if source is None or target is None:
        return None
    spreads = beta * source.std(), (1 - beta) * target.std()
    total = float(spreads[0] + spreads[1])
    return float(spreads[0]) / total if total > 0 else 0.0
