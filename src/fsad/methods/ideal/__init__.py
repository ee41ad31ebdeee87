"""IDEAL: trained on one data set; tested on another, of which a good and a bad image are known."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fsad.engine.plan import Method, Plan
from fsad.engine.settings import MAPS, SCORES, STAGES, Affects, affecting
from fsad.engine.stage import BankStage, FitStage, Stage
from fsad.errors import (
    check_at_least,
    check_choice,
    check_fraction,
    check_not_negative,
    check_positive,
)
from fsad.methods.ideal import settings
from fsad.methods.ideal.scorer import SCORED_BY_DIRECTIONS, SCORED_WITHOUT_DEFECTS, IdealScorer
from fsad.methods.ideal.settings import Fit, Variation
from fsad.nn.adapter import CachedExtractor
from fsad.nn.deviation_encoder import DeviationEncoder
from fsad.nn.extractor import PatchExtractor

if TYPE_CHECKING:
    from fsad.engine.stage_module import StageModule


class Ideal(Method):
    """The method and its settings.

    Stage ``encoder`` is trained once per run, on the source data set. Stage ``references`` keeps
    the anomalous patches of a category's defective references, ``banks`` all patches of its normal
    ones. A patch is scored by how little it is like any normal patch, and by how much its residual,
    normal variation erased, lies in the directions that the encoder makes of the defects.

    Args:
        fit: :class:`~fsad.methods.ideal.settings.Fit`.
        variation: :class:`~fsad.methods.ideal.settings.Variation`.
        score: ``full``; or, without training, ``untrained``: directions by random weights;
            ``residual``: the length of the residual; ``banks``: how much more a patch is like
            anomalous patches than like normal ones; ``normal``: how little it is like these. Tables
            have a name for each.
        vectors: Directions that the encoder makes, 1 or more.
        top_share: Share of an image's patches, the worst, whose mean is its score, in (0, 1].
        sigma: Blur of the map in pixels, 0 or more.
        seed: Of the weights and of what is random in training.

    Raises:
        ConfigError: A setting is out of range.

    Source:
        IDEAL (arXiv 2605.23231). Departures: ``docs/ideal.md``.

    Examples:
        >>> from fsad.methods.ideal import Ideal
        >>> Ideal({"epochs": 20, "episodes": 600}).name
        'ideal'
        >>> Ideal({"epochs": 20, "episodes": 600}, score="banks").name
        'ideal (two banks)'
    """

    squares = True

    def __init__(
        self,
        fit: Annotated[Mapping[str, Any], Affects("encoder")],
        variation: Annotated[Mapping[str, Any] | None, Affects("encoder", SCORES)] = None,
        score: Annotated[str, Affects(SCORES, STAGES)] = "full",
        vectors: Annotated[int, Affects("encoder", SCORES)] = 45,
        top_share: Annotated[float, Affects("encoder", SCORES)] = 0.01,
        sigma: Annotated[float, Affects(MAPS)] = 4.0,
        seed: Annotated[int, Affects("encoder", SCORES)] = 0,
    ) -> None:
        self.score = check_choice("method.score", score, settings.SCORES)
        self.name = settings.SCORES[score]
        self.fit, self.variation = Fit(**fit), Variation(**(variation or {}))
        self.vectors = check_at_least("method.vectors", vectors, 1)
        name = "method.top_share"
        self.top_share = check_positive(name, check_fraction(name, top_share))
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run."""
        encoder = DeviationEncoder(extractor.channels, self.vectors, self.seed)
        scorer = IdealScorer(
            CachedExtractor(extractor), encoder, self.variation, self.score, self.top_share
        )
        stages: list[Stage] = []
        if self.score == "full":
            stages.append(
                FitStage(
                    "encoder",
                    encoder,
                    partial(self._encoder, scorer),
                    self.fit.epochs,
                    reads=("source_data",),
                    sampling="itself",
                    depends=affecting(self, "encoder"),
                    scope="run",
                )
            )
        if self.score not in SCORED_WITHOUT_DEFECTS:
            stages.append(
                FitStage(
                    "references",
                    scorer.references,
                    partial(self._references, scorer),
                    epochs=1,
                    reads=("seen_anomalies",),
                    sampling="itself",
                    depends={},
                    has_samples=self.score in SCORED_BY_DIRECTIONS,
                )
            )
        stages.append(BankStage(scorer, {"target": 1.0}, depends={}))
        return Plan(stages, scorer, sigma=self.sigma, scores_depend=affecting(self, SCORES))

    def _encoder(self, scorer: IdealScorer) -> "StageModule":
        from fsad.methods.ideal.training import EncoderModule  # Lightning, to train alone

        return EncoderModule(scorer, self.fit, self.seed)

    def _references(self, scorer: IdealScorer) -> "StageModule":
        from fsad.methods.ideal.references import ReferenceModule

        return ReferenceModule(scorer)
