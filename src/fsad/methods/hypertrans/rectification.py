"""Stage ``rectify`` and the test loop: close the gap, then score (eqs. 8-19)."""

import logging
from typing import Any

import torch
from torch import Tensor

from fsad.data.datamodule import PairDataModule
from fsad.engine.checkpoint import check_loss
from fsad.engine.stage_module import ScoringModule
from fsad.functional.pose import upright_share
from fsad.functional.prepared import prepare
from fsad.functional.turned import turned
from fsad.methods.hypertrans.graph import BankGraph, gap_over_norm
from fsad.methods.hypertrans.normal import NormalScores
from fsad.methods.hypertrans.settings import AUTO, Plus, Rectify
from fsad.nn.adapter import AdaptedExtractor
from fsad.nn.res_hgnn import BankStates, ResHGNN
from fsad.results.feature_samples import ROWS, choose
from fsad.runtime.processes import agree
from fsad.runtime.randomness import seeded

log = logging.getLogger(__name__)

TURNS = 4
"""Quarter turns lose no pixel and invent none."""
LOOKED_AT = 8
"""Source images that tell how parts lie: 56 pairs."""
ALIKE = 0.9
"""Share of pairs that match unturned where parts always lie alike; a quarter, and up to 0.77 of
these few, was seen where they lie as they come (docs/methods.md)."""


class HypergraphRectificationModule(ScoringModule):
    r"""Train R on the banks' hypergraph, then score target test images against both banks.

    .. math:: L_{dr} = \operatorname{MSE}(R(F), S(F)) + \operatorname{MSE}(R(F), F)

    over all vertices in every step: the k shots' patches and the source coreset, nothing else.

    Args:
        extractor: Frozen backbone with its adapters.
        settings: Network and schedule of R.
        alpha: Share of the hypergraph branch in R.
        knn: Neighbours of a patch in the hypergraph.
        rectify: Train and apply R; off scores the features as they are.
        rectify_banks: At test, compare with the banks passed through R too; else with raw banks.
        plus: What goes beyond the paper.
        seed: Seed of the weights and of dropout.

    Source:
        HyperTrans, eqs. (8)-(19) and Algorithm 1, lines 10-17.
    """

    train_domains = ()  # a step consumes the banks, not images

    def __init__(
        self,
        extractor: AdaptedExtractor,
        settings: Rectify,
        alpha: float,
        knn: int,
        rectify: bool,
        rectify_banks: bool,
        plus: Plus,
        seed: int,
    ) -> None:
        super().__init__(extractor)
        self.settings = settings
        self.knn, self.rectify, self.rectify_banks = knn, rectify, rectify_banks
        self.plus = plus
        self.unit_of_shots = plus.calibrate
        self.seed = seed
        self.rectifier = ResHGNN(
            extractor.extractor.channels, settings.hidden, alpha, settings.dropout, seed
        )
        self.graph: BankGraph | None = None

    def look(self, data: PairDataModule) -> None:
        """Choose whether shots are turned, if that is left to the source images.

        Where source images match one another best unturned, in all pairs but a few, parts always
        lie alike and look otherwise turned, and a turned shot could only hide a defect. One image
        alone tells nothing: shots stay as they are.
        """
        if self.plus.rotations != AUTO:
            return
        images: Any = data.source_dataloader().dataset
        places = torch.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).round().int()
        shown = torch.stack([images[int(place)].image for place in places]).to(self.device)
        turns = (turned(shown, 360 * number / TURNS) for number in range(TURNS))
        views = torch.stack([self.encode(view, "source") for view in turns])
        share = upright_share(views.flatten(3).transpose(2, 3))
        count = agree(TURNS if share < ALIKE else 1)  # processes may round a near tie otherwise
        why = f"{100 * share:.0f} % of image pairs" if len(places) > 1 else "one image only"
        log.info("rotations: %d (same orientation: %s)", count, why)
        self.target_bank.views = count

    def bank_views(self, domain: str) -> int:
        """Return how many views of each image the banks hold: the turns of a shot."""
        if domain == "source":
            return 1
        chosen = self.plus.rotations
        return chosen if isinstance(chosen, int) else self.target_bank.views

    def bank_view(self, images: Tensor, domain: str, number: int) -> Tensor:
        """Turn images."""
        return turned(images, 360 * number / self.bank_views(domain))

    def setup(self, stage: str) -> None:  # noqa: ARG002 (Lightning's signature)
        """Leave the adapters as they are: they are not this stage's to train."""
        self.extractor.adapters.requires_grad_(False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over R."""
        return torch.optim.Adam(self.rectifier.parameters(), lr=self.settings.lr)

    def on_fit_start(self) -> None:
        """Build the hypergraph once the banks are there."""
        self.graph = self._build_graph()

    def _build_graph(self) -> BankGraph:
        rows = self.target_bank.rows
        return BankGraph(
            self.source_bank.rows, rows[self._members(len(rows))], self.knn, self.settings.scale
        )

    def _members(self, count: int) -> Tensor:
        """Choose the target's rows that the hypergraph holds: as many as without turned shots.

        Of turned shots it would cost as many times as much to train on all. The others pass
        through R as queries do.

        Args:
            count: Of all rows.

        Returns:
            Whether each row is one, ``(count,)``.
        """
        members = torch.zeros(count, dtype=torch.bool)
        members[choose(count, -(-count // self.bank_views("target")), self.seed, "members")] = True
        return members.to(self.device)

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

    def on_test_start(self) -> None:
        """Prepare what every query is compared with."""
        source, target = self.source_bank.rows, self.target_bank.rows
        self._states: BankStates | None = None
        if self.rectify:
            self.graph = self.graph or self._build_graph()
            self._states = self.graph.states(self.rectifier)
            if self.rectify_banks:
                others = target[~self._members(len(target))]
                source, target = self.graph.banks_as_queries(self.rectifier, self._states)
                if len(others):
                    others = self.graph.rectify(self.rectifier, self._states, others)
                    target = torch.cat([target, others])
        self._source, self._target = prepare(source), prepare(target)
        self._normal = NormalScores(self._source, self._target, self.plus, self._shots())

    def _shots(self) -> tuple[int, tuple[int, int]]:
        """Return how many shots the target bank holds, and the grid of their patches."""
        height, width = self.extractor.extractor.grid
        return len(self.target_bank.rows) // (height * width), (height, width)

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Score target images against each bank, rectified as its rows are."""
        features = self.target_bank.normalize(self.encode(images, "target"))
        n, c, h, w = features.shape
        rows = features.permute(0, 2, 3, 1).reshape(-1, c)
        if self._states is not None:
            assert self.graph is not None
            rows = self.graph.rectify(self.rectifier, self._states, rows)
        source, target = self._normal.score(rows)
        return {"source": source.view(n, h, w), "target": target.view(n, h, w)}

    def embeddings(self, data: PairDataModule) -> dict[str, Tensor]:  # noqa: ARG002 (banks suffice)
        """Sample the banks before and after R, for the paper's Fig. 6.

        Returns:
            Rows of the banks, ``(r, c)``: ``source`` and ``target`` as they are,
            ``source_rectified`` and ``target_rectified`` the same rows passed through R as queries.
        """
        graph = self.graph or self._build_graph()
        after = graph.banks_as_queries(self.rectifier, graph.states(self.rectifier))
        kept = {}
        banks = {"source": graph.source, "target": graph.target}
        for (domain, before), rectified in zip(banks.items(), after, strict=True):
            places = choose(len(before), ROWS, self.seed, "rows", domain).to(before.device)
            kept[domain] = before[places]
            kept[f"{domain}_rectified"] = rectified[places]
        return kept

    def trained_state(self) -> dict[str, Tensor]:
        """Return what this stage trained: R's two matrices."""
        return dict(self.rectifier.state_dict())

    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`trained_state` returned."""
        self.rectifier.load_state_dict(state)
