"""The scores of a category's test images, held against the truth."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from fsad.data.batch import Truth
from fsad.functional.scoring import blur, image_scores
from fsad.metrics.anomaly import Evaluation
from fsad.scores.combination import MapMaker
from fsad.scores.score_set import ScoreSet

MAIN = "fused"
"""The set of the method's own scores."""
CONTROL = "part_mask"
"""The set of the blurred part mask."""


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


@dataclass(frozen=True)
class PartResults:
    """What of a test does not depend on how the parts of the score become one.

    It is kept for the next cell of a grid, which combines them otherwise.

    Attributes:
        batches: By the place of a batch's first image, the ground truth and each part's maps.
        metrics: Of each part alone and of the part mask, as :meth:`ScoredImages.compute` has it.
        bounds: How far these can be from the exact ones.
        limits: As :attr:`ScoredImages.limits`.
    """

    batches: Mapping[int, tuple[Truth, Mapping[str, Tensor]]]
    metrics: Mapping[str, Mapping[str, float | None]]
    bounds: Mapping[str, Mapping[str, float]]
    limits: Mapping[str, tuple[float, float]]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(_nbytes(*batch) for batch in self.batches.values())


class ScoredImages:
    """Scores of a category's test images, and the metrics over them.

    The method's own score is measured, each part's alone, and the blurred part mask, which tells
    how far "is this the part?" alone would come. With one part, its score is the method's. Maps are
    measured and forgotten, but for what ``keep`` has room for.

    Args:
        maker: How patch scores become maps, and parts one.
        scores: Of all test images, to see which parts there are and which have maps.
        exact: Keep and sort every pixel, instead of counting scores in fine bins.
        known: What was found of the same images and scores, combined otherwise; the method's own
            score alone is measured then.
        keep: How many bytes may be kept for :meth:`part_results`; below 0, nothing is.
        parts_known: Whether it is known where the part is; the mask is no set otherwise.
    """

    def __init__(
        self,
        maker: MapMaker,
        scores: ScoreSet,
        exact: bool = False,
        known: PartResults | None = None,
        keep: int = -1,
        parts_known: bool = True,
    ) -> None:
        self.maker = maker
        self.parts = tuple(scores)
        mapless = {set_of(name) for name, each in scores.items() if each.patches is None}
        mapped = [name for name, each in scores.items() if each.patches is not None]
        if scores and not maker.combination.has_map(mapped, scores):
            mapless.add(MAIN)
        sets = (MAIN, *map(set_of, scores), *([CONTROL] if parts_known else []))
        self.evaluation = Evaluation(
            sets[:1] if known else sets, exact=exact, mapless=mapless, parts_known=parts_known
        )
        self.images: list[ImageScore] = []
        self.limits: dict[str, tuple[float, float]] = dict(known.limits) if known else {}
        """The lowest and the highest value of each set's maps."""
        self._known, self._room = known, keep
        self._batches: dict[int, tuple[Truth, Mapping[str, Tensor]]] = {}
        self._metrics: dict[str, Mapping[str, float | None]] = {}

    def truths(self, loader: Iterable[Truth]) -> Iterable[Truth]:
        """Give the ground truth batch by batch, from what is known of it if there is something."""
        return [truth for truth, _ in self._known.batches.values()] if self._known else loader

    def update(self, truth: Truth, scores: ScoreSet) -> None:
        """Add a batch.

        Args:
            truth: Ground truth of the images.
            scores: Theirs.
        """
        maps = self._maps(truth, scores)
        images = {name: each.images for name, each in scores.items()}
        main = self.maker.combination.combine(images)
        scored: dict[str, tuple[Tensor, Tensor | None]] = {
            MAIN: (main, self.maker.combined_maps(maps, scores)),
        }
        if not self._known:
            scored |= {set_of(name): (each, maps.get(name)) for name, each in images.items()}
        if CONTROL in self.evaluation.names:
            part = blur(truth.part.to(main.dtype), self.maker.sigma)
            scored[CONTROL] = image_scores(part), part
        self.evaluation.update(
            truth.label, truth.mask, truth.part, scored, truth.masked, truth.area
        )
        for name, (_, values) in scored.items():
            if values is not None:
                low, high = self.limits.get(name, (float("inf"), float("-inf")))
                self.limits[name] = min(low, float(values.min())), max(high, float(values.max()))
        columns = {name: each.tolist() for name, each in images.items()}
        for place, (index, value) in enumerate(zip(truth.index, main.tolist(), strict=True)):
            of_parts = {name: column[place] for name, column in columns.items()}
            self.images.append(ImageScore(int(index), value, of_parts))

    def _maps(self, truth: Truth, scores: ScoreSet) -> Mapping[str, Tensor]:
        """Return the maps of a batch by part, and keep them if they fit."""
        place = int(truth.index[0])
        if self._known:
            return self._known.batches[place][1]
        maps = self.maker.part_maps(scores)
        self._room -= _nbytes(truth, maps)
        if self._room >= 0:
            self._batches[place] = truth, maps
        else:
            self._batches.clear()
        return maps

    def compute(self) -> dict[str, Mapping[str, float | None]]:
        """Return the five metrics of each set, over everything added."""
        self._metrics = dict(self.evaluation.compute())
        if self._known:
            self._metrics |= self._known.metrics
        return self._metrics

    @property
    def bounds(self) -> dict[str, Mapping[str, float]]:
        """How far each set's metrics can be from the exact ones; filled by :meth:`compute`."""
        return dict(self.evaluation.bounds) | (dict(self._known.bounds) if self._known else {})

    def part_results(self) -> PartResults | None:
        """Return what another combination does not change; None if it is too much to keep.

        It is there after :meth:`compute`.
        """
        if self._known or self._room < 0:
            return self._known
        others = [name for name in self.evaluation.names if name != MAIN]
        return PartResults(
            batches=self._batches,
            metrics={name: self._metrics[name] for name in others},
            bounds={name: self.evaluation.bounds[name] for name in others},
            limits={name: it for name, it in self.limits.items() if name != MAIN},
        )


def _nbytes(truth: Truth, maps: Mapping[str, Tensor]) -> int:
    return sum(each.nbytes for each in (*truth, *maps.values()))


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
