"""AHL: heads that do well on anomalies they have not seen, learnt from many simulated settings."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fsad.engine.plan import HoldOut, Method, Plan
from fsad.engine.settings import MAPS, Affects, affecting
from fsad.engine.stage import FitStage
from fsad.errors import check_at_least, check_choice, check_not_negative
from fsad.methods.ahl.settings import BASES, IMPORTANCES, Outer
from fsad.methods.shared.open_set.scorer import AnomalyNetwork, GradientScorer, HeadsScorer
from fsad.methods.shared.open_set.settings import Fit, Loss, named
from fsad.methods.shared.open_set.stage import deviation_stage
from fsad.nn.anomaly_heads import DeviationHeads, DisentangledHeads
from fsad.nn.extractor import PatchExtractor
from fsad.nn.networks import Trunk
from fsad.scores.combination import Combination

if TYPE_CHECKING:
    from fsad.engine.stage_module import StageModule

HEADS = {"dra": DisentangledHeads, "devnet": DeviationHeads}
SCORERS = {"dra": HeadsScorer, "devnet": GradientScorer}


class Ahl(Method):
    """The method and its settings: the paper's, not the release's.

    Stage ``base`` trains trunk and heads as the base method does. Stage ``outer`` keeps the trunk
    and trains heads anew: normal images are clustered, each ordered pair of clusters is a task with
    anomalies and pseudo anomalies of its own, the heads are adapted to each task's support, and
    move so that the adapted ones do well on its query. The score and the map are those of the base
    method, by these heads.

    Args:
        fit: :class:`~fsad.methods.shared.open_set.settings.Fit`, of the base model.
        outer: :class:`~fsad.methods.ahl.settings.Outer`.
        base: ``dra`` or ``devnet``; tables call the method ``ahl(dra)`` or ``ahl(devnet)``.
        importance: Of tasks: ``none``, all count fully; ``uniform``, one in T; ``lstm``, by how
            well they are predicted to generalise.
        trunk: ``trained``, or ``frozen``, as for :class:`fsad.methods.dra.Dra`.
        scales: As there, like all that follow.
        references: Normal images whose mean map the residuals are taken from, 1 or more.
        margin: Deviations of the prior that anomalies shall lie above normal images.
        prior: Draws of the prior in a step; 0 takes its own mean and deviation.
        sigma: Blur of the map in pixels, 0 or more.
        seed: Of the weights and of what is random in training.

    Raises:
        ConfigError: A setting is out of range.

    Source:
        Zhu et al., Anomaly heterogeneity learning for open-set supervised anomaly detection (CVPR
        2024, arXiv 2310.12790). Departures: ``docs/open-set.md``.

    Examples:
        >>> from fsad.methods.ahl import Ahl
        >>> fit = {"epochs": 30, "steps": 20, "normals": 32, "anomalies": 16}
        >>> outer = {"epochs": 30, "inner_steps": 20, "normals": 16, "pseudo": 16, "anomalies": 16}
        >>> Ahl(fit, outer).name
        'ahl(dra)'
    """

    squares = True

    def __init__(
        self,
        fit: Annotated[Mapping[str, Any], Affects("base")],
        outer: Annotated[Mapping[str, Any], Affects("outer")],
        base: Annotated[str, Affects("base")] = "dra",
        importance: Annotated[str, Affects("outer")] = "lstm",
        trunk: Annotated[str, Affects("base")] = "trained",
        scales: Annotated[int, Affects("base")] = 2,
        references: Annotated[int, Affects("base")] = 5,
        margin: Annotated[float, Affects("base", "outer")] = 5.0,
        prior: Annotated[int, Affects("base", "outer")] = 5000,
        sigma: Annotated[float, Affects(MAPS)] = 4.0,
        seed: Annotated[int, Affects("base", "outer")] = 0,
    ) -> None:
        self.base = check_choice("method.base", base, BASES)
        self.name = named(f"ahl({base})", trunk)
        self.fit, self.outer, self.loss = Fit(**fit), Outer(**outer), Loss(margin, prior)
        self.importance = check_choice("method.importance", importance, IMPORTANCES)
        self.trunk, self.margin, self.prior = trunk, margin, prior
        self.scales = check_at_least("method.scales", scales, 1)
        self.references = check_at_least("method.references", references, 1)
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: the base model, then the unified heads."""
        trunk = Trunk(extractor, self.trunk == "trained", self.scales)
        heads = HEADS[self.base]
        network = AnomalyNetwork(trunk, heads(extractor.channels, self.seed))
        unified = heads(extractor.channels, self.seed + 1)
        scorer = SCORERS[self.base](extractor, network, unified)
        references = self.references if self.base == "dra" else 0
        base = deviation_stage(
            "base", scorer, self.fit, self.loss, references, self.seed, affecting(self, "base")
        )
        outer = FitStage(
            "outer",
            unified,
            partial(self._outer, scorer),
            self.outer.epochs,
            reads=("normals", "seen_anomalies"),
            sampling="itself",
            depends=affecting(self, "outer"),
        )
        return Plan(
            [base, outer],
            scorer,
            Combination("sum"),
            sigma=self.sigma,
            held_out=HoldOut.NONE,
            scores_depend={},
        )

    def _outer(self, scorer: HeadsScorer) -> "StageModule":
        from fsad.methods.ahl.outer import OuterModule

        return OuterModule(scorer, self.outer, self.loss, self.importance, self.seed)
