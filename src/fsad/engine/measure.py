"""From the scores of a category's test images to its result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fsad.data.datamodule import DataModule
from fsad.data.inspect.doubts import Doubts
from fsad.data.profile import InputProfile
from fsad.engine.last_tests import LastTests
from fsad.engine.plan import Plan
from fsad.nn.memory_bank import MemoryBank
from fsad.results.record import CategoryResult, ScoreRow, peak_rss_mb
from fsad.results.result import Metrics, as_json
from fsad.runtime.progress import track
from fsad.scores.combination import Combination, MapMaker
from fsad.scores.parts import AGREED
from fsad.scores.score_set import ScoreSet
from fsad.scores.scored_images import CONTROL, MAIN, ScoredImages, set_of, source_share

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """What the test of a category yielded.

    Attributes:
        scored: Scores of the images, and the ranges of their maps.
        metrics: The five metrics of each set.
        share: Share of the source domain in the spread of the fused score; None with one domain.
        doubts: What the test images have that makes a number doubtful, one sentence each.
    """

    scored: ScoredImages
    metrics: Mapping[str, Metrics]
    share: float | None
    doubts: list[str]

    @property
    def numbers(self) -> dict[str, float]:
        """The method's own metrics, as far as they are defined, for loggers."""
        numbers = {name: value for name, value in self.metrics[MAIN].items() if value is not None}
        return numbers if self.share is None else numbers | {"source_share": self.share}

    def rows(self, data: DataModule) -> list[ScoreRow]:
        """Return the lines of ``scores.csv``."""
        samples, files = data.test_samples, data.test_files
        return [
            ScoreRow(
                category=samples[image.index].category,
                image=files[image.index],
                label=samples[image.index].is_anomalous,
                defect=samples[image.index].defect,
                score=image.main,
                parts=image.parts,
            )
            for image in self.scored.images
        ]

    def result(
        self,
        data: DataModule,
        profile: InputProfile,
        *,
        bank_rows: dict[str, int],
        seconds: dict[str, float],
        backbone_seconds: float,
        diagnostics: dict[str, Any],
        reused: list[str],
    ) -> CategoryResult:
        """Put together the category's result; the arguments are its attributes."""
        bounds = [bound for it in self.scored.bounds.values() for bound in it.values()]
        return CategoryResult(
            shots=data.shot_files,
            anomalies=data.anomaly_files,
            n_source=data.n_source,
            n_test_good=data.n_test_good,
            n_test_defect=data.n_test_defect,
            fused=self.metrics[MAIN],
            source_only=self.metrics.get(set_of("source"), {}),
            target_only=self.metrics.get(set_of("target"), {}),
            parts=_further({name: self.metrics[set_of(name)] for name in self.scored.parts}),
            part_mask=self.metrics.get(CONTROL, {}),
            bank_rows=bank_rows,
            seconds=seconds,
            backbone_seconds=backbone_seconds,
            peak_rss_mb=peak_rss_mb(),
            source_share=self.share,
            diagnostics=as_json(diagnostics),
            reused=reused,
            test_digest=data.files_digest("test"),
            source_digest=data.source_digest,
            metrics_within=max(bounds, default=0.0),
            prepared=data.prepared,
            undefined=dict(self.scored.evaluation.undefined),
            input=profile.to_json(),
            notes=[
                *self.doubts,
                *(
                    f"stage {name} did not reach its goal (see diagnostics); the run is valid"
                    for name, measured in diagnostics.items()
                    if measured.get("failed")
                ),
            ],
        )


def measure(
    data: DataModule,
    plan: Plan,
    scores: ScoreSet,
    profile: InputProfile,
    exact: bool,
    tests: LastTests,
    key: str,
) -> Measured:
    """Hold the scores of a category's test images against the truth.

    Args:
        data: The category's.
        plan: What was run.
        scores: Of the test images; empty where there are none.
        profile: What the training images look like.
        exact: Keep and sort every pixel for the metrics.
        tests: What the process's last tests yielded.
        key: Digest of all that decides what this one yields before parts are combined; empty where
            nothing is shared.
    """
    maker = MapMaker(data.canvas.shape, plan.sigma, plan.combination)
    keep = tests.max_bytes if key else -1
    parts_known = all(sample.shows_part for sample in data.test_samples)
    scored = ScoredImages(maker, scores, exact, tests.get(key), keep, parts_known)
    doubts = Doubts(data.test_samples, data.image_size, profile, data.protocol.modality)
    truths = data.truth_dataloader()
    for truth in track(scored.truths(truths), "metrics", len(truths)):
        scored.update(truth, {name: each.at(truth.index) for name, each in scores.items()})
        doubts.update(truth)
    metrics = scored.compute()
    tests.keep(key, scored.part_results())
    return Measured(scored, metrics, _source_share(scores, plan.combination), doubts.lines())


def _source_share(scores: ScoreSet, combination: Combination) -> float | None:
    """Return the share of the source domain, where a mean has one."""
    beta = combination.weights.get("source")
    return None if beta is None else source_share(scores, beta)


def banks_of(plan: Plan) -> list[MemoryBank]:
    """Return the banks that a plan fills."""
    return plan.bank_stage.banks if plan.bank_stage else []


def _further(parts: Mapping[str, T]) -> dict[str, T]:
    """Return the parts that results have no column of their own for."""
    return {name: each for name, each in parts.items() if name not in AGREED}
