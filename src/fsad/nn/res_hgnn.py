"""The rectifier: a residual hypergraph network (eq. 9)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from fsad.errors import ConfigError, check_at_least, check_fraction
from fsad.functional.distance import similarity
from fsad.functional.hypergraph import EdgeSums, SoftHypergraph
from fsad.functional.neighbours import Neighbours
from fsad.runtime.randomness import seeded

LEVELS = 2**16  # of a random number that decides over a hidden value
DROP_CHUNK = 2**19  # hidden values treated at a time: they stay in the processor's cache


@dataclass(frozen=True)
class BankStates:
    """A bank as the rectifier's two layers see it, kept so that queries cost little.

    Attributes:
        inputs: Edge sums of the features, in c channels.
        hiddens: Edge sums of the hidden states after the second layer's matrix, in c channels.
    """

    inputs: EdgeSums
    hiddens: EdgeSums


class HypergraphConvolution(nn.Module):
    r"""One layer of eq. (8): a learnt matrix, then :math:`G`, the hypergraph's own.

    .. math:: c(F) = D_v^{-1/2} H D_e^{-1} H^\top D_v^{-1/2} F \Theta

    Law: of one seed it starts as dhg's ``HGNNConv(c, d, bias=False, is_last=True)`` and computes
    the same numbers, bit for bit. What dhg imports takes longer than a prediction.

    There is no bias: it would be smoothed too, so it is no constant offset, and eq. (8) has none.

    Args:
        channels: Of the features, c.
        out: Of the result, d.

    Source:
        Feng et al., Hypergraph Neural Networks (AAAI 2019); HyperTrans, eq. (8).
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.theta = nn.Linear(channels, out, bias=False)

    def forward(self, features: Tensor, hypergraph: SoftHypergraph) -> Tensor:
        """Convolve all vertices of a hypergraph: ``(v, c)`` to ``(v, d)``."""
        return hypergraph.smoothing_with_HGNN(self.theta(features))


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
        dropout: Dropout on the hidden layer, training only, in [0, 1), rounded to 16 bits; the
            paper's is 0.5.
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
        check_at_least("hidden", hidden, 1)
        self.alpha = check_fraction("alpha", alpha)
        if check_fraction("dropout", dropout) == 1:
            raise ConfigError("dropout: expected a number below 1, got 1")
        with seeded(seed, "rectifier"):
            self.conv_in = HypergraphConvolution(channels, hidden)  # c_2
            self.conv_out = HypergraphConvolution(hidden, channels)  # c_1
        self.kept = max(1, round((1 - dropout) * LEVELS))  # of LEVELS

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
        hidden, scale = self.conv_in.theta(smoothed), self.alpha
        if self.training and self.kept < LEVELS:
            hidden, scale = _SigmoidDropout.apply(hidden, self.kept), scale * LEVELS / self.kept
        else:
            hidden = torch.sigmoid(hidden)
        # alpha and dropout's scale act on the matrix, which is smaller than what it multiplies
        branch = linear(hidden, scale * self.conv_out.theta.weight)
        mixed = hypergraph.smoothing_with_HGNN(branch.to(features.dtype))  # under autocast too
        return mixed.add_(features, alpha=1 - self.alpha)  # eq. (9)

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
        return self.alpha * out + (1 - self.alpha) * queries  # eq. (9)


class _SigmoidDropout(torch.autograd.Function):
    """The sigmoid, in place, with ``LEVELS - kept`` of ``LEVELS`` values set to 0 and no rescaling.

    One pass where the processor's cache holds the values, and a quarter of a random number for
    each: apart, drawing the mask takes half as long as the matrix products around it.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, kept: int) -> Tensor:
        ctx.mark_dirty(values)
        mask = values.new_empty(min(DROP_CHUNK, values.numel()))
        bits = torch.empty(-(-len(mask) // 4), dtype=torch.long, device=values.device)
        for part in torch.split(values.view(-1), DROP_CHUNK):
            draws = bits.random_(-(2**63), None).view(torch.int16)
            torch.lt(draws[: len(part)], kept - LEVELS // 2, out=mask[: len(part)])
            part.sigmoid_().mul_(mask[: len(part)])
        ctx.save_for_backward(values)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (values,) = ctx.saved_tensors
        # s (1 - s) for what was kept, and 0 for what was dropped, is what the sigmoid's own gives
        return torch.ops.aten.sigmoid_backward(gradient, values), None
