"""DRA: heads for seen anomalies, pseudo anomalies, residuals and normality on one trunk."""

from collections.abc import Mapping
from typing import Annotated, Any

from fsad.engine.plan import HoldOut, Method, Plan
from fsad.engine.settings import MAPS, Affects, affecting
from fsad.errors import check_at_least, check_not_negative
from fsad.methods.shared.open_set.scorer import AnomalyNetwork, HeadsScorer
from fsad.methods.shared.open_set.settings import Fit, Loss, named
from fsad.methods.shared.open_set.stage import deviation_stage
from fsad.nn.anomaly_heads import DisentangledHeads
from fsad.nn.extractor import PatchExtractor
from fsad.nn.networks import Trunk
from fsad.scores.combination import Combination


class Dra(Method):
    """The method and its settings.

    The score is the sum of its parts: ``seen``, ``pseudo`` and ``residual``, and ``normality``, the
    negative of what the holistic head says. The map is the sum of the cells of the first three:
    ours, the paper has none.

    Args:
        fit: :class:`~fsad.methods.shared.open_set.settings.Fit`.
        trunk: ``trained``: a copy of the backbone trains, as published; ``frozen``: the backbone as
            it is, another method, which tables call ``dra (frozen trunk)``.
        scales: How many sizes of an image are looked at, each half the one before.
        references: Normal images whose mean map the residuals are taken from, 1 or more.
        margin: Deviations of the prior that anomalies shall lie above normal images.
        prior: Draws of the prior in a step; 0 takes its own mean and deviation.
        sigma: Blur of the map in pixels, 0 or more.
        seed: Of the weights and of what is random in training.

    Raises:
        ConfigError: A setting is out of range.

    Source:
        Ding et al., Catching both gray and black swans: open-set supervised anomaly detection (CVPR
        2022). Departures: ``docs/open-set.md``.

    Examples:
        >>> from fsad.methods.dra import Dra
        >>> Dra({"epochs": 30, "steps": 20, "normals": 32, "anomalies": 16}).name
        'dra'
    """

    squares = True

    def __init__(
        self,
        fit: Annotated[Mapping[str, Any], Affects("fit")],
        trunk: Annotated[str, Affects("fit")] = "trained",
        scales: Annotated[int, Affects("fit")] = 2,
        references: Annotated[int, Affects("fit")] = 5,
        margin: Annotated[float, Affects("fit")] = 5.0,
        prior: Annotated[int, Affects("fit")] = 5000,
        sigma: Annotated[float, Affects(MAPS)] = 4.0,
        seed: Annotated[int, Affects("fit")] = 0,
    ) -> None:
        self.name = named("dra", trunk)
        self.fit, self.loss = Fit(**fit), Loss(margin, prior)
        self.trunk, self.margin, self.prior = trunk, margin, prior
        self.scales = check_at_least("method.scales", scales, 1)
        self.references = check_at_least("method.references", references, 1)
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: one fit."""
        trunk = Trunk(extractor, self.trunk == "trained", self.scales)
        heads = DisentangledHeads(extractor.channels, self.seed)
        scorer = HeadsScorer(extractor, AnomalyNetwork(trunk, heads))
        stage = deviation_stage(
            scorer, self.fit, self.loss, self.references, self.seed, affecting(self, "fit")
        )
        return Plan(
            [stage],
            scorer,
            Combination("sum"),
            sigma=self.sigma,
            held_out=HoldOut.NONE,
            scores_depend={},
        )
