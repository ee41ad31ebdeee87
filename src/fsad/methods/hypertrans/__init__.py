"""HyperTrans (IJCAI 2025): domain perturbation, hypergraph rectification, cross-domain scoring."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from fsad.engine.plan import Method, Plan
from fsad.engine.settings import MAPS, SCORES, Affects, affecting
from fsad.engine.stage import BankStage, FitStage, Stage
from fsad.errors import (
    ConfigError,
    check_at_least,
    check_bool,
    check_even,
    check_fraction,
    check_not_negative,
)
from fsad.methods.hypertrans.scorer import HypergraphScorer
from fsad.methods.hypertrans.settings import Banks, Extensions, Perturb, Rectify, Stages
from fsad.nn.adapter import AdaptedExtractor, CachedExtractor
from fsad.nn.extractor import PatchExtractor
from fsad.scores.combination import two_domains

if TYPE_CHECKING:
    from fsad.engine.stage_module import StageModule


class HyperTrans(Method):
    """The method and its settings; :meth:`plan` lays out one category's run.

    Args:
        alpha: Share of the hypergraph branch in R (eq. 9), in [0, 1].
        beta: Share of the source domain in the score (eqs. 18, 19), in [0, 1].
        knn: Neighbours per patch in the hypergraph, even; half of them in each domain.
        bank_max_rows: Most rows a bank may have; twice as many are held while it is built. None
            is as many as there are.
        rectify_banks: At test, compare with rectified banks; false compares with raw ones.
        sigma: Blur of the anomaly map in pixels, 0 or more.
        stages: Which parts are on, as :class:`~fsad.methods.hypertrans.settings.Stages`.
        perturb: :class:`~fsad.methods.hypertrans.settings.Perturb`.
        banks: :class:`~fsad.methods.hypertrans.settings.Banks`.
        rectify: :class:`~fsad.methods.hypertrans.settings.Rectify`.
        seed: Seed of weights, noise and dropout.
        plus: :class:`~fsad.methods.hypertrans.settings.Extensions`; with any of it on, the method
            calls itself ``hypertrans_plus``.

    Raises:
        ConfigError: A setting is out of range.

    Examples:
        >>> import fsad
        >>> settings = dict(alpha=0.3, beta=0.6, knn=10, bank_max_rows=None, rectify_banks=True)
        >>> parts = dict(stages={}, perturb={}, banks={}, rectify={"epochs": 50})  # {}: defaults
        >>> method = fsad.HyperTrans(**settings, **parts, sigma=4.0, seed=0)
        >>> method.name, method.rectify.epochs, method.rectify.dropout
        ('hypertrans', 50, 0.5)
    """

    name = "hypertrans"

    def __init__(
        self,
        alpha: Annotated[float, Affects("rectify")],
        beta: Annotated[float, Affects(MAPS)],
        knn: Annotated[int, Affects("rectify")],
        bank_max_rows: Annotated[int | None, Affects("banks")],
        rectify_banks: Annotated[bool, Affects(SCORES)],
        sigma: Annotated[float, Affects(MAPS)],
        stages: Mapping[str, Any],
        perturb: Annotated[Mapping[str, Any], Affects("perturb")],
        banks: Annotated[Mapping[str, Any], Affects("banks")],
        rectify: Annotated[Mapping[str, Any], Affects("rectify")],
        seed: Annotated[int, Affects("perturb", "rectify")],
        plus: Mapping[str, Any] | None = None,
    ) -> None:
        self.alpha = check_fraction("method.alpha", alpha)
        self.beta = check_fraction("method.beta", beta)
        self.knn = check_even("method.knn", knn)
        self.bank_max_rows = (
            None
            if bank_max_rows is None
            else check_at_least("method.bank_max_rows", bank_max_rows, 1)
        )
        self.rectify_banks = check_bool("method.rectify_banks", rectify_banks)
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)
        self.stages = Stages(**stages)
        self.perturb = Perturb(**perturb)
        self.banks = Banks(**banks)
        self.rectify = Rectify(**rectify)
        self.plus = Extensions(**(plus or {}))
        if self.plus != Extensions():
            self.name = "hypertrans_plus"
            self._check_plus()

    def _check_plus(self) -> None:
        """Refuse settings under which the shots would not be scored as queries are."""
        if self.stages.rectify and not self.rectify_banks:
            raise ConfigError(
                "method.rectify_banks: expected true with method.plus, got false: raw shots would "
                "be compared with rectified queries. Leave it true."
            )

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out the stages of one category.

        Args:
            extractor: The frozen backbone, shared between categories.
        """
        stages: list[Stage] = []
        features = CachedExtractor(extractor)
        if self.stages.perturb:
            features = adapted = AdaptedExtractor(extractor, self.perturb.hidden, self.seed)
            stages.append(self._perturb_stage(adapted))
        scorer = HypergraphScorer(
            features,
            self.rectify,
            alpha=self.alpha,
            knn=self.knn,
            rectify=self.stages.rectify,
            rectify_banks=self.rectify_banks,
            plus=self.plus,
            seed=self.seed,
        )
        ratios = {"source": self.banks.source_ratio, "target": self.banks.target_ratio}
        depends = affecting(self, "banks")
        stages.append(BankStage(scorer, ratios, self.bank_max_rows, depends))
        if self.stages.rectify:
            stages.append(self._rectify_stage(scorer))
        return Plan(
            stages,
            scorer,
            combination=two_domains(self.beta if self.stages.cross_domain else 0.0),
            sigma=self.sigma,
            scores_depend=affecting(self, SCORES),
        )

    def _perturb_stage(self, adapted: AdaptedExtractor) -> FitStage:
        def module() -> "StageModule":
            from fsad.methods.hypertrans.perturbation import DomainPerturbationModule  # Lightning

            return DomainPerturbationModule(adapted, self.perturb, self.seed)

        return FitStage(
            "perturb",
            adapted.adapters,
            module,
            self.perturb.epochs,
            reads=("source",),
            depends=affecting(self, "perturb"),
            has_samples=True,
        )

    def _rectify_stage(self, scorer: HypergraphScorer) -> FitStage:
        def module() -> "StageModule":
            from fsad.methods.hypertrans.rectification import (  # Lightning
                HypergraphRectificationModule,
            )

            return HypergraphRectificationModule(scorer)

        return FitStage(
            "rectify",
            scorer.rectifier,
            module,
            self.rectify.epochs,
            checkpoint_every=10,
            depends=affecting(self, "rectify"),
            has_samples=True,
        )
