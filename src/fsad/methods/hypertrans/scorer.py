"""How HyperTrans scores: against both banks, rectified (eqs. 8-10, 12-19)."""

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fsad.engine.scorer import BankScorer
from fsad.functional.pose import upright_match_rate
from fsad.functional.prepared import prepare
from fsad.functional.rotation import rotate
from fsad.methods.hypertrans.graph import BankGraph
from fsad.methods.hypertrans.normal import CorrectedScores
from fsad.methods.hypertrans.settings import AUTO, Extensions, Rectify
from fsad.nn.adapter import CachedExtractor
from fsad.nn.res_hgnn import BankStates, ResHGNN
from fsad.results.feature_samples import choose
from fsad.runtime.processes import broadcast_from_first

if TYPE_CHECKING:
    from fsad.data.datamodule import DataModule

log = logging.getLogger(__name__)

TURNS = 4
"""Quarter turns lose no pixel and invent none."""
LOOKED_AT = 8
"""Source images that tell how parts lie: 56 pairs."""
ALIKE = 0.9
"""Share of pairs that match unturned where parts always lie alike; a quarter, and up to 0.77 of
these few, was seen where they lie as they come (docs/methods.md)."""


class HypergraphScorer(BankScorer):
    """Scores target images against the banks of both domains.

    Args:
        extractor: Frozen backbone, with its adapters where there are any.
        settings: Network and schedule of R.
        alpha: Share of the hypergraph branch in R.
        knn: Neighbours of a patch in the hypergraph.
        rectify: Apply R; off scores the features as they are.
        rectify_banks: Compare with the banks passed through R too; else with raw banks.
        plus: What goes beyond the paper.
        seed: Seed of R's weights and of what it chooses.

    Source:
        HyperTrans, eqs. (8)-(19) and Algorithm 1, lines 14-17.
    """

    def __init__(
        self,
        extractor: CachedExtractor,
        settings: Rectify,
        alpha: float,
        knn: int,
        rectify: bool,
        rectify_banks: bool,
        plus: Extensions,
        seed: int,
    ) -> None:
        super().__init__(extractor, "source", "target")
        self.settings = settings
        self.knn, self.rectify, self.rectify_banks = knn, rectify, rectify_banks
        self.plus = plus
        self.seed = seed
        self.rectifier = ResHGNN(
            extractor.extractor.channels, settings.hidden, alpha, settings.dropout, seed
        )
        self._graph: BankGraph | None = None

    def inspect_training_images(self, data: "DataModule") -> None:
        """Choose whether shots are turned, if that is left to the source images.

        Where source images match one another best unturned, in all pairs but a few, parts always
        lie alike and look otherwise turned, and a turned shot could only hide a defect. One image
        alone tells nothing: shots stay as they are.
        """
        if self.plus.rotations != AUTO:
            return
        images: Any = data.loader("source").dataset
        places = torch.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).round().int()
        shown = torch.stack([images[int(place)].image for place in places]).to(self.device)
        turns = (rotate(shown, 360 * number / TURNS) for number in range(TURNS))
        views = torch.stack([self.encode(view, "source") for view in turns])
        share = upright_match_rate(views.flatten(3).transpose(2, 3))
        count = broadcast_from_first(
            TURNS if share < ALIKE else 1
        )  # processes may round a near tie otherwise
        why = f"{100 * share:.0f} % of image pairs" if len(places) > 1 else "one image only"
        log.info("rotations: %d (same orientation: %s)", count, why)
        self.banks["target"].views = count

    def augmentations(self, domain: str) -> int:
        """Return how many views of each image the banks hold: the turns of a shot."""
        if domain == "source":
            return 1
        chosen = self.plus.rotations
        return chosen if isinstance(chosen, int) else self.banks["target"].views

    def augment(self, images: Tensor, domain: str, number: int) -> Tensor:
        """Turn images."""
        return rotate(images, 360 * number / self.augmentations(domain))

    def graph(self) -> BankGraph:
        """Return the hypergraph over the banks, built once."""
        if self._graph is None:
            rows = self.banks["target"].rows
            self._graph = BankGraph(
                self.banks["source"].rows,
                rows[self._members(len(rows))],
                self.knn,
                self.settings.scale,
            )
        return self._graph

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
        wanted = -(-count // self.augmentations("target"))
        members[choose(count, wanted, self.seed, "members")] = True
        return members.to(self.device)

    def prepare(self) -> None:
        """Prepare what every query is compared with."""
        source, target = self.banks["source"].rows, self.banks["target"].rows
        self._states: BankStates | None = None
        if self.rectify:
            graph = self.graph()
            self._states = graph.states(self.rectifier)
            if self.rectify_banks:
                others = target[~self._members(len(target))]
                source, target = graph.banks_as_queries(self.rectifier, self._states)
                if len(others):
                    others = graph.rectify(self.rectifier, self._states, others)
                    target = torch.cat([target, others])
        self._source, self._target = prepare(source), prepare(target)
        self._normal = CorrectedScores(self._source, self._target, self.plus)

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Score target images against each bank, rectified as its rows are."""
        features = self.banks["target"].normalize(self.encode(images, "target"))
        n, c, h, w = features.shape
        rows = features.permute(0, 2, 3, 1).reshape(-1, c)
        if self._states is not None:
            rows = self.graph().rectify(self.rectifier, self._states, rows)
        source, target = self._normal.score(rows)
        return {"source": source.view(n, h, w), "target": target.view(n, h, w)}
