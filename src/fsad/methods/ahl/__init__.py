"""AHL: heads that do well on anomalies they have not seen, learnt from many simulated settings."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fsad.engine.plan import HoldOut, Method, Plan
from fsad.engine.settings import MAPS, Affects, affecting
from fsad.engine.stage import FitStage
from fsad.errors import check_at_least, check_choice
from fsad.methods.ahl.settings import BASES, IMPORTANCES, Outer
from fsad.methods.devnet import DevNet
from fsad.methods.dra import Dra
from fsad.methods.shared.open_set.scorer import HeadsScorer
from fsad.methods.shared.open_set.settings import Fit, Loss, named
from fsad.nn.extractor import PatchExtractor
from fsad.scores.combination import Combination

if TYPE_CHECKING:
    from fsad.engine.stage_module import StageModule


class Ahl(Method):
    """The method and its settings: the paper's, not the release's.

    Stage ``fit`` is the base method's own, and runs of both share it. Stage ``outer`` keeps the
    trunk and trains heads anew: normal images are clustered, each ordered pair of clusters is a
    task with anomalies and pseudo anomalies of its own, the heads are adapted to each task's
    support, and move so that the adapted ones do well on its query. The score and the map are those
    of the base method, by these heads.

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
        fit: Annotated[Mapping[str, Any], Affects("fit")],
        outer: Annotated[Mapping[str, Any], Affects("outer")],
        base: Annotated[str, Affects("fit")] = "dra",
        importance: Annotated[str, Affects("outer")] = "lstm",
        trunk: Annotated[str, Affects("fit")] = "trained",
        scales: Annotated[int, Affects("fit")] = 2,
        references: Annotated[int, Affects("fit")] = 5,
        margin: Annotated[float, Affects("fit", "outer")] = 5.0,
        prior: Annotated[int, Affects("fit", "outer")] = 5000,
        sigma: Annotated[float, Affects(MAPS)] = 4.0,
        seed: Annotated[int, Affects("fit", "outer")] = 0,
    ) -> None:
        self.base = check_choice("method.base", base, BASES)
        self.name = named(f"ahl({base})", trunk)
        self.fit, self.outer, self.loss = Fit(**fit), Outer(**outer), Loss(margin, prior)
        self.importance = check_choice("method.importance", importance, IMPORTANCES)
        self.trunk, self.margin, self.prior = trunk, margin, prior
        self.scales, self.sigma, self.seed = scales, sigma, seed
        self.references = check_at_least("method.references", references, 1)
        shared: Any = {
            "trunk": trunk,
            "scales": scales,
            "margin": margin,
            "prior": prior,
            "sigma": sigma,
            "seed": seed,
        }
        self._base = (
            Dra(fit, references=references, **shared) if base == "dra" else DevNet(fit, **shared)
        )

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: the base model, then the unified heads."""
        begin = self._base.plan(extractor)
        (fit,) = begin.fits
        assert isinstance(begin.scorer, HeadsScorer)
        network = begin.scorer.network
        unified = type(network.heads)(extractor.channels, self.seed + 1)
        scorer = type(begin.scorer)(extractor, network, unified)
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
            [replace(fit, owner=self._base.name), outer],
            scorer,
            Combination("sum"),
            sigma=self.sigma,
            held_out=HoldOut.NONE,
            scores_depend={},
        )

    def _outer(self, scorer: HeadsScorer) -> "StageModule":
        from fsad.methods.ahl.outer import OuterModule

        return OuterModule(scorer, self.outer, self.loss, self.importance, self.seed)
