"""The rectifier: a residual hypergraph network (eq. 9). The only module that imports dhg."""

from dataclasses import dataclass

import torch
from dhg.nn import HGNNConv
from torch import Tensor, nn

from fsad.errors import ConfigError, check_at_least, check_fraction
from fsad.functional.distance import similarity
from fsad.functional.hypergraph import EdgeSums, SoftHypergraph
from fsad.functional.neighbours import Neighbours
from fsad.randomness import seeded


@dataclass(frozen=True)
class BankStates:
    """A bank as the rectifier's two layers see it, kept so that queries cost little.

    Attributes:
        inputs: Edge sums of the features, in c channels.
        hiddens: Edge sums of the hidden states after the second layer's matrix, in c channels.
    """

    inputs: EdgeSums
    hiddens: EdgeSums


class ResHGNN(nn.Module):
    r"""Mix every patch with its hypergraph neighbourhood.

    .. math:: R(F) = \alpha\, c_1(\operatorname{dropout}(\sigma(c_2(F)))) + (1 - \alpha)\, F

    with :math:`c_i(F) = D_v^{-1/2} H D_e^{-1} H^\top D_v^{-1/2} F \Theta_i` (eq. 8). The sigmoid
    stands on the hidden layer only: features are signed, a bounded output could not match them.

    Laws: :math:`\alpha = 0` is the identity; in eval mode the output is the formula above without
    dropout.

    Args:
        channels: Channels of a patch feature, c.
        hidden: Width of the hidden layer.
        alpha: Share of the hypergraph branch, in [0, 1]; the paper's is 0.3.
        dropout: Dropout on the hidden layer, training only, in [0, 1); the paper's is 0.5.
        seed: Seed of the weights.

    Raises:
        ConfigError: An argument is out of range.

    Source:
        HyperTrans, eqs. (8) and (9).
    """

    def __init__(
        self,
        channels: int,
        hidden: int = 1024,
        alpha: float = 0.3,
        dropout: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_at_least("method.rectify.hidden", hidden, 1)
        self.alpha = check_fraction("method.alpha", alpha)
        if check_fraction("method.rectify.dropout", dropout) == 1:
            raise ConfigError("method.rectify.dropout: expected a number below 1, got 1")
        with seeded(seed, "rectifier"):
            # No bias: it would be smoothed too, so it is no constant offset, and eq. (8) has none.
            self.conv_in = HGNNConv(channels, hidden, bias=False, is_last=True)  # c_2
            self.conv_out = HGNNConv(hidden, channels, bias=False, is_last=True)  # c_1
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, features: Tensor, hypergraph: SoftHypergraph, smoothed: Tensor | None = None
    ) -> Tensor:
        """Rectify all vertices of a hypergraph.

        Smoothing and the learnt matrix commute, so the first layer smooths the c channels of the
        features, not the wider hidden layer; for features that stay the same it needs doing once.

        Args:
            features: ``(v, c)``.
            hypergraph: Over the same vertices.
            smoothed: ``hypergraph.smoothing_with_HGNN(features)``, if it is known already.

        Returns:
            R(F), ``(v, c)``.
        """
        if smoothed is None:
            smoothed = hypergraph.smoothing_with_HGNN(features)
        hidden = self.dropout(torch.sigmoid(self.conv_in.theta(smoothed)))
        return self._mix(self.conv_out(hidden, hypergraph), features)

    def bank_states(
        self, features: Tensor, hypergraph: SoftHypergraph, smoothed: Tensor | None = None
    ) -> BankStates:
        """Run the bank through both layers once and keep what queries need of it.

        Args:
            features: Bank features of both domains, ``(v, c)``.
            hypergraph: The bank's hypergraph.
            smoothed: As for :meth:`forward`.
        """
        if smoothed is None:
            smoothed = hypergraph.smoothing_with_HGNN(features)
        hidden = torch.sigmoid(self.conv_in.theta(smoothed))
        return BankStates(
            hypergraph.edge_sums(features), hypergraph.edge_sums(self.conv_out.theta(hidden))
        )

    def rectify_queries(
        self,
        queries: Tensor,
        neighbours: Neighbours,
        scale: float,
        hypergraph: SoftHypergraph,
        states: BankStates,
    ) -> Tensor:
        """Rectify queries one by one against a bank that stays as it is.

        Args:
            queries: Query features, ``(q, c)``.
            neighbours: Their neighbours in the bank.
            scale: Distance scale of the bank's hypergraph.
            hypergraph: The bank's hypergraph.
            states: :meth:`bank_states`.

        Returns:
            Rectified queries, ``(q, c)``; each independent of the others.
        """
        memberships = similarity(neighbours.distances, scale)
        smoothed = hypergraph.smooth_queries(
            queries, memberships, neighbours.indices, states.inputs
        )
        hidden = torch.sigmoid(self.conv_in.theta(smoothed))
        out = hypergraph.smooth_queries(
            self.conv_out.theta(hidden), memberships, neighbours.indices, states.hiddens
        )
        return self._mix(out, queries)

    def _mix(self, branch: Tensor, features: Tensor) -> Tensor:
        return self.alpha * branch + (1 - self.alpha) * features  # eq. (9)
