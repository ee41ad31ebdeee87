"""Stage ``rectify``: R closes the gap between the banks (eqs. 8-11)."""

import logging

import torch
from torch import Tensor

from fsad.data.datamodule import DataModule
from fsad.engine.checkpoint import check_loss
from fsad.engine.stage_module import StageModule
from fsad.methods.hypertrans.graph import BankGraph, gap_over_norm
from fsad.methods.hypertrans.scorer import HypergraphScorer
from fsad.results.feature_samples import ROWS, choose
from fsad.runtime.randomness import seeded

log = logging.getLogger(__name__)


class HypergraphRectificationModule(StageModule):
    r"""Train R on the banks' hypergraph.

    .. math:: L_{dr} = \operatorname{MSE}(R(F), S(F)) + \operatorname{MSE}(R(F), F)

    over all vertices in every step: the k shots' patches and the source coreset, nothing else.

    Args:
        scorer: Whose R is trained; its banks are filled when the fit starts.

    Source:
        HyperTrans, eqs. (8)-(11) and Algorithm 1, lines 10-13.
    """

    def __init__(self, scorer: HypergraphScorer) -> None:
        super().__init__(scorer.rectifier, scorer.extractor.extractor)
        self.scorer, self.rectifier = scorer, scorer.rectifier
        self.settings, self.seed = scorer.settings, scorer.seed
        self.graph: BankGraph | None = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over R."""
        return torch.optim.Adam(self.rectifier.parameters(), lr=self.settings.lr)

    def on_fit_start(self) -> None:
        """Build the hypergraph once the banks are there."""
        self.graph = self.scorer.graph()

    def training_step(self, batch: Tensor) -> Tensor:  # noqa: ARG002 (empty by design)
        """Return L_dr over the whole hypergraph."""
        assert self.graph is not None
        graph = self.graph
        with seeded(self.seed, "dropout", self.global_step):
            rectified = graph.rectified(self.rectifier)
        loss = check_loss("rectify loss", graph.loss(rectified), self.global_step)  # eq. (11)
        self.log(f"{self.prefix}rectify/loss", loss, prog_bar=True)
        return loss

    @torch.no_grad()
    def on_train_end(self) -> None:
        """Measure the gap between the domains before and after R."""
        assert self.graph is not None
        self.rectifier.eval()
        states = self.graph.states(self.rectifier)
        source, target = self.graph.banks_as_queries(self.rectifier, states)
        self.rectifier.train()
        self.diagnostics = {
            "gap_over_norm_before": gap_over_norm(
                self.graph.source, self.graph.target, self.graph.pseudo
            ),
            "gap_over_norm_after": gap_over_norm(source, target),
            "norm_ratio": float(
                torch.cat([source, target]).norm(dim=1).mean()
                / self.graph.features.norm(dim=1).mean()
            ),
        }
        log.info(
            "rectify: gap between domains / norm %.3f before, %.3f after; norm after / before %.2f",
            self.diagnostics["gap_over_norm_before"],
            self.diagnostics["gap_over_norm_after"],
            self.diagnostics["norm_ratio"],
        )

    def samples(self, data: DataModule) -> dict[str, Tensor]:  # noqa: ARG002 (banks suffice)
        """Sample the banks before and after R, for the paper's Fig. 6.

        Returns:
            Rows of the banks, ``(r, c)``: ``source`` and ``target`` as they are,
            ``source_rectified`` and ``target_rectified`` the same rows passed through R as queries.
        """
        graph = self.scorer.graph()
        after = graph.banks_as_queries(self.rectifier, graph.states(self.rectifier))
        kept = {}
        banks = {"source": graph.source, "target": graph.target}
        for (domain, before), rectified in zip(banks.items(), after, strict=True):
            places = choose(len(before), ROWS, self.seed, "rows", domain).to(before.device)
            kept[domain] = before[places]
            kept[f"{domain}_rectified"] = rectified[places]
        return kept
