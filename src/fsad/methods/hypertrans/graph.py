"""Both banks as one hypergraph, and the rectifier applied to it and to queries."""

import logging

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from fsad.functional.hypergraph import SoftHypergraph, pseudo_features
from fsad.functional.neighbours import bank_neighbours, median_distance, query_neighbours
from fsad.functional.prepared import prepare
from fsad.nn.res_hgnn import BankStates, ResHGNN

log = logging.getLogger(__name__)


class BankGraph:
    """The vertices M_s and M_t, their hyperedges and their pseudo features.

    Args:
        source: Source bank, ``(s, c)``.
        target: Target bank, ``(t, c)``.
        knn: Neighbours per vertex, half of them in each domain.
        scale: ``one`` or ``median``; see :class:`~fsad.methods.hypertrans.settings.Rectify`.
    """

    def __init__(self, source: Tensor, target: Tensor, knn: int, scale: str) -> None:
        self.features = torch.cat([source, target])  # (v, c)
        self.source, self.target = self.features[: len(source)], self.features[len(source) :]
        self.knn = knn
        self._source, self._target = prepare(self.source), prepare(self.target)
        self._neighbours = bank_neighbours(self._source, self._target, knn)
        self.scale = 1.0 if scale == "one" else median_distance(self._neighbours)
        self.hypergraph = SoftHypergraph.from_neighbours(self._neighbours, self.scale)
        self.smoothed = self.hypergraph.smoothing_with_HGNN(self.features)
        # The first neighbour in the other domain is the nearest there: no second search for S(F).
        self._nearest_other = self._neighbours.indices[:, knn // 2]
        pseudo = self.pseudo
        self._least_loss = mse_loss(pseudo, self.features) / 2
        self._best = pseudo.add_(self.features).div_(2)

    @property
    def pseudo(self) -> Tensor:
        """S(F) of eq. (10), ``(v, c)``, gathered anew each time."""
        return self.features[self._nearest_other]

    def loss(self, rectified: Tensor) -> Tensor:
        r"""Compare rectified features with the pseudo features and with their own.

        .. math::
            L_{dr} = \operatorname{MSE}(R, S) + \operatorname{MSE}(R, F)
            = 2 \operatorname{MSE}\big(R, \tfrac{S + F}{2}\big)
            + \tfrac{1}{2} \operatorname{MSE}(S, F)

        The right-hand side passes over the features half as often; its last term never changes.

        Args:
            rectified: R(F), ``(v, c)``.

        Returns:
            A scalar, 0 or more; lower = better.

        Source:
            HyperTrans, eq. (11).
        """
        return 2 * mse_loss(rectified, self._best) + self._least_loss

    def rectified(self, rectifier: ResHGNN) -> Tensor:
        """Pass all vertices through R: ``(v, c)``."""
        return rectifier(self.features, self.hypergraph, self.smoothed)  # type: ignore[no-any-return]

    def states(self, rectifier: ResHGNN) -> BankStates:
        """Return what queries need of the banks."""
        return rectifier.bank_states(self.features, self.hypergraph, self.smoothed)

    def banks_as_queries(self, rectifier: ResHGNN, states: BankStates) -> tuple[Tensor, Tensor]:
        r"""Pass every bank row through R as a query that does not find itself.

        Eq. (8) multiplies a vertex by the root of its degree. A source row that many target
        patches hold for their neighbour is thus lengthened, and a query, whose degree is its own
        hyperedge's, is not: the rows most like the target would lie farthest from it. By one path
        for both, they do not.

        Args:
            rectifier: R.
            states: What :meth:`states` gave.

        Returns:
            Rectified banks: source ``(s, c)`` and target ``(t, c)``.
        """
        rows = rectifier.rectify_queries(
            self.features, self._neighbours, self.scale, self.hypergraph, states
        )
        return rows[: len(self.source)], rows[len(self.source) :]

    def rectify(self, rectifier: ResHGNN, states: BankStates, queries: Tensor) -> Tensor:
        """Pass target-domain queries ``(q, c)`` through R, each on its own."""
        neighbours = query_neighbours(queries, self._source, self._target, self.knn)
        return rectifier.rectify_queries(queries, neighbours, self.scale, self.hypergraph, states)


def gap_over_norm(source: Tensor, target: Tensor, pseudo: Tensor | None = None) -> float:
    """Measure how far the domains lie apart, free of shrinkage.

    The mean distance of a vertex to its nearest vertex in the other domain, over the mean norm of
    all vertices: multiplying all features by a number leaves it as it is.

    Args:
        source: ``(s, c)``.
        target: ``(t, c)``.
        pseudo: Their pseudo features, ``(s + t, c)``, if they are known already.

    Returns:
        0 or more; lower = closer.
    """
    features = torch.cat([source, target])
    if pseudo is None:
        pseudo = pseudo_features(source, target)
    distance = (features - pseudo).norm(dim=1).mean()
    return float(distance / features.norm(dim=1).mean())
