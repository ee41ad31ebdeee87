"""DevNet: an image scores by its worst cells, trained by the deviation loss on a few anomalies."""

from collections.abc import Mapping
from typing import Annotated, Any

from fsad.engine.plan import HoldOut, Method, Plan
from fsad.engine.settings import MAPS, Affects, affecting
from fsad.errors import check_at_least, check_not_negative
from fsad.methods.shared.open_set.scorer import AnomalyNetwork, GradientScorer
from fsad.methods.shared.open_set.settings import Fit, Loss, named
from fsad.methods.shared.open_set.stage import deviation_stage
from fsad.nn.anomaly_heads import DeviationHeads
from fsad.nn.extractor import PatchExtractor
from fsad.nn.networks import Trunk


class DevNet(Method):
    r"""The method and its settings.

    The score is the mean of the 10 % worst cells of :math:`|w \cdot f + b|`, over two scales. The
    map is the gradient of the score at the pixels, summed over colours and averaged over cells of 8
    pixels: ours, after the published localisation.

    Args:
        fit: :class:`~fsad.methods.shared.open_set.settings.Fit`.
        trunk: ``trained``: a copy of the backbone trains, as published; ``frozen``: the backbone as
            it is, another method, which tables call ``devnet (frozen trunk)``.
        scales: How many sizes of an image are looked at, each half the one before.
        margin: Deviations of the prior that anomalies shall lie above normal images.
        prior: Draws of the prior in a step; 0 takes its own mean and deviation.
        sigma: Blur of the map in pixels, 0 or more.
        seed: Of the weights and of what is random in training.

    Raises:
        ConfigError: A setting is out of range.

    Source:
        Pang et al., Explainable deep few-shot anomaly detection with deviation networks (arXiv
        2108.00462). Departures: ``docs/open-set.md``.

    Examples:
        >>> from fsad.methods.devnet import DevNet
        >>> fit = {"epochs": 50, "steps": 20, "normals": 24, "anomalies": 24}
        >>> DevNet(fit, trunk="frozen").name
        'devnet (frozen trunk)'
    """

    squares = True

    def __init__(
        self,
        fit: Annotated[Mapping[str, Any], Affects("fit")],
        trunk: Annotated[str, Affects("fit")] = "trained",
        scales: Annotated[int, Affects("fit")] = 2,
        margin: Annotated[float, Affects("fit")] = 5.0,
        prior: Annotated[int, Affects("fit")] = 5000,
        sigma: Annotated[float, Affects(MAPS)] = 4.0,
        seed: Annotated[int, Affects("fit")] = 0,
    ) -> None:
        self.name = named("devnet", trunk)
        self.fit, self.loss = Fit(**fit), Loss(margin, prior)
        self.trunk, self.margin, self.prior = trunk, margin, prior
        self.scales = check_at_least("method.scales", scales, 1)
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: one fit."""
        trunk = Trunk(extractor, self.trunk == "trained", self.scales)
        heads = DeviationHeads(extractor.channels, self.seed)
        scorer = GradientScorer(extractor, AnomalyNetwork(trunk, heads))
        stage = deviation_stage(scorer, self.fit, self.loss, 0, self.seed, affecting(self, "fit"))
        return Plan([stage], scorer, sigma=self.sigma, held_out=HoldOut.NONE, scores_depend={})
