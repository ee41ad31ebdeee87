"""The hypergraph over both domains' patches: who belongs to whom, and averaging over it (eq. 8).

Shapes: ``v`` vertices, ``e`` hyperedges, ``m`` members per hyperedge, ``c`` channels,
``q`` queries.
Hyperedge ``i`` is centred on vertex ``i``, so ``e = v``; two identical patches keep two hyperedges.
Source vertices come first, target vertices after them.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from fsad.errors import ConfigError, ShapeError, check_shape
from fsad.functional.distance import nearest, similarity
from fsad.functional.neighbours import Neighbours
from fsad.functional.prepared import PreparedBank, prepare

CHANNEL_BLOCK = 64  # channels smoothed at a time: their rows stay in the processor's cache


def pseudo_features(source: Tensor | PreparedBank, target: Tensor | PreparedBank) -> Tensor:
    """Give every vertex the feature of its nearest vertex in the other domain.

    Found exactly by distance, never from a truncated incidence matrix; carries no gradient.

    Args:
        source: Source bank, ``(s, c)``, prepared or not.
        target: Target bank, ``(t, c)``, prepared or not.

    Returns:
        S(F), ``(s + t, c)``: target features for the source vertices, then the reverse.

    Source:
        HyperTrans, eq. (10).
    """
    source, target = prepare(source), prepare(target)
    with torch.no_grad():
        _, of_source = nearest(source.rows, target)
        _, of_target = nearest(target.rows, source)
        return torch.cat([target.rows[of_source[:, 0]], source.rows[of_target[:, 0]]])


@dataclass(frozen=True)
class EdgeSums:
    r"""What queries need to know of a bank that was averaged over its own hyperedges.

    Attributes:
        vertices: :math:`D_v^{-1/2} X`, ``(v, c)``.
        edges: :math:`H^\top D_v^{-1/2} X`, ``(e, c)``: each hyperedge's sum before its mean.
    """

    vertices: Tensor
    edges: Tensor


class SoftHypergraph:
    r"""A hypergraph with memberships in [0, 1], kept as member lists.

    It offers ``smoothing_with_HGNN``, the one method that ``dhg.nn.HGNNConv`` calls, so that layer
    runs over it, as the tests' oracle. dhg's own structure has binary memberships and merges
    hyperedges with equal members.

    Args:
        members: Vertices of each hyperedge, ``(e, m)``; a padded entry has membership 0.
        memberships: How much each belongs, ``(e, m)``, in [0, 1].
        vertices: Number of vertices, v.

    Raises:
        ShapeError: The two tables differ in shape.
        ConfigError: A membership is outside [0, 1], or a member is not a vertex.
    """

    def __init__(self, members: Tensor, memberships: Tensor, vertices: int) -> None:
        sizes = check_shape("members", members, "e m")
        check_shape("memberships", memberships, "e m", **sizes)
        if members.numel() and not 0 <= int(members.min()) <= int(members.max()) < vertices:
            raise ConfigError(
                f"members: expected vertices from 0 to {vertices - 1}, "
                f"got {int(members.min())} to {int(members.max())}"
            )
        if not bool(((memberships >= 0) & (memberships <= 1)).all()):
            raise ConfigError("memberships: expected values in [0, 1], got values outside")
        self.members, self.memberships = members, memberships
        order = members.flatten().argsort(stable=True)  # the same table read by vertex
        self._edges = order // sizes["m"]
        self._edge_memberships = memberships.flatten()[order]
        counts = members.flatten().bincount(minlength=vertices)
        self._offsets = counts.cumsum(0) - counts
        ones = memberships.new_ones(sizes["e"], 1)
        self.dv = self._sum_over_edges(ones)[:, 0]  # D_v with W = I
        self.de = memberships.sum(dim=1)  # D_e
        with torch.no_grad():  # K = D_v^-1/2 H D_e^-1/2 in both orders, so that G = K K^T
            roots = _reciprocal(self.dv).sqrt()[members] * _reciprocal(self.de).sqrt()[:, None]
            self._weights = memberships * roots
            self._edge_weights = self._weights.flatten()[order]

    @classmethod
    def from_neighbours(cls, neighbours: Neighbours, scale: float = 1.0) -> "SoftHypergraph":
        r"""Build hyperedge i = {i} and its neighbours, with :math:`H = 1/(1 + d/s)`.

        Args:
            neighbours: Neighbours of every vertex, ``(v, k)``.
            scale: s, in the unit of the distances.
        """
        vertices = len(neighbours.indices)
        own = torch.arange(vertices, device=neighbours.indices.device)[:, None]
        memberships = similarity(neighbours.distances, scale)
        return cls(
            torch.cat([own, neighbours.indices], dim=1),
            torch.cat([torch.ones_like(memberships[:, :1]), memberships], dim=1),
            vertices,
        )

    @property
    def device(self) -> torch.device:
        """Where the tables are; ``dhg`` asks for it."""
        return self.members.device

    def smoothing_with_HGNN(self, features: Tensor, drop_rate: float = 0.0) -> Tensor:  # noqa: N802 (dhg's name)
        r"""Average features over hyperedges, normalised on both sides.

        .. math:: D_v^{-1/2} \, H \, W \, D_e^{-1} \, H^\top D_v^{-1/2} \, F, \quad W = I

        A vertex in no hyperedge, or a hyperedge without members, contributes zero rather than an
        infinity.

        Laws, for G the matrix applied to F: G is symmetric; its largest eigenvalue is 1, at
        :math:`D_v^{1/2}\mathbf{1}`; renaming vertices permutes the output; scaling H by a positive
        constant changes nothing.

        Args:
            features: ``(v, c)``.
            drop_rate: Must be 0; dhg's signature.

        Returns:
            Smoothed features, ``(v, c)``.

        Raises:
            ShapeError: ``features`` has another number of vertices.

        Note:
            Cost is two weighted gathers of ``e·m`` rows, and as much for the gradient of the
            features, which is G again. No ``(v, v)`` matrix and no ``(e, m, c)`` temporary is
            built; the transient memory is two blocks of ``CHANNEL_BLOCK`` channels.

        Source:
            HyperTrans, eq. (8), without the activation and the learnt matrix.
        """
        if drop_rate:
            raise ConfigError(f"drop_rate: expected 0, got {drop_rate}")
        check_shape("features", features, "v c", v=len(self.dv))
        if self.memberships.requires_grad:  # step by step, so that they get theirs
            means = self.edge_sums(features).edges * _reciprocal(self.de)[:, None]
            return self._sum_over_edges(means) * _reciprocal(self.dv).sqrt()[:, None]
        smoothed: Tensor = _Smoothing.apply(features, self)
        return smoothed

    def _smooth(self, features: Tensor) -> Tensor:
        """Multiply by G, block by block of channels."""
        weights, edge_weights = (
            table.to(features.dtype) for table in (self._weights, self._edge_weights)
        )
        out = torch.empty_like(features, memory_format=torch.contiguous_format)
        for block in range(0, features.shape[1], CHANNEL_BLOCK):
            channels = slice(block, block + CHANNEL_BLOCK)
            part = features[:, channels].contiguous()
            means = _weighted_sum(self.members, weights, part)
            out[:, channels] = embedding_bag(
                self._edges, means, self._offsets, mode="sum", per_sample_weights=edge_weights
            )
        return out

    def edge_sums(self, features: Tensor) -> EdgeSums:
        """Sum the scaled vertices of every hyperedge, the first half of eq. (8)."""
        check_shape("features", features, "v c", v=len(self.dv))
        scaled = features * _reciprocal(self.dv).sqrt()[:, None]
        return EdgeSums(scaled, _weighted_sum(self.members, self.memberships, scaled))

    def smooth_queries(
        self, features: Tensor, memberships: Tensor, neighbours: Tensor, bank: EdgeSums
    ) -> Tensor:
        r"""Average each query as if it were one more vertex, leaving the bank as it is.

        A query owns a hyperedge of itself and its neighbours, and joins its neighbours' hyperedges;
        bank vertices and their degrees stay. With memberships :math:`s_j`, bank sums
        :math:`\Sigma_j` and degrees :math:`\delta_j`:

        .. math::
            d_v = 1 + \sum_j s_j, \quad d_e = 1 + \sum_j s_j, \quad x' = d_v^{-1/2} x, \quad
            d_v^{-1/2} \Big[ \frac{x' + \sum_j s_j x'_j}{d_e}
            + \sum_j s_j \frac{\Sigma_j + s_j x'}{\delta_j + s_j} \Big]

        Laws: a query's result does not depend on the other queries; without neighbours it is the
        query itself.

        Args:
            features: Queries, ``(q, c)``.
            memberships: s, ``(q, k)``.
            neighbours: Their bank indices, ``(q, k)``.
            bank: :meth:`edge_sums` of the bank in the same space.

        Returns:
            Smoothed queries, ``(q, c)``.
        """
        dv = 1 + memberships.sum(dim=1, keepdim=True)  # also D_e of the query's own hyperedge
        scaled = features * dv.rsqrt()
        own = (scaled + _weighted_sum(neighbours, memberships, bank.vertices)) / dv
        shares = memberships / (self.de[neighbours] + memberships)
        joined = _weighted_sum(neighbours, shares, bank.edges)
        joined = joined + scaled * (shares * memberships).sum(dim=1, keepdim=True)
        return (own + joined) * dv.rsqrt()

    def _sum_over_edges(self, edge_values: Tensor) -> Tensor:
        """Multiply by H: ``(e, c)`` to ``(v, c)``."""
        return embedding_bag(
            self._edges,
            edge_values,
            self._offsets,
            mode="sum",
            per_sample_weights=self._edge_memberships.to(edge_values.dtype),
        )


class _Smoothing(torch.autograd.Function):
    """Multiplication by G. G is symmetric, so its backward pass is itself: no scattered sums."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, hypergraph: SoftHypergraph) -> Tensor:
        ctx.hypergraph = hypergraph
        return hypergraph._smooth(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Smoothing.apply(gradient, ctx.hypergraph), None


def _weighted_sum(indices: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    r"""Return :math:`\sum_k w_{ik} r_{ik}`, ``(q, c)``, without a ``(q, k, c)`` temporary."""
    if indices.shape != weights.shape:
        raise ShapeError(f"weights: expected {tuple(indices.shape)}, got {tuple(weights.shape)}")
    weights = weights.to(rows.dtype)
    if torch.compiler.is_exporting():  # with the temporary: others know no embedding bag
        return (rows[indices] * weights[..., None]).sum(dim=1)
    return embedding_bag(indices, rows, mode="sum", per_sample_weights=weights)


def _reciprocal(degree: Tensor) -> Tensor:
    # Infinity goes in before the power, not after: masking an infinite result would send NaN back
    # through autograd.
    return torch.where(degree > 0, degree, torch.inf).reciprocal()
