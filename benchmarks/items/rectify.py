"""One step of the rectifier over the whole hypergraph, beside its bare matmuls."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from benchmarks.bench import Bench
from benchmarks.items.hypergraph import CHANNELS, banks
from benchmarks.record import faster, within
from benchmarks.reference import bare_rectify_forward, bare_rectify_step, sparse_incidence
from benchmarks.timing import Contender, timed
from fsad.methods.hypertrans.graph import BankGraph
from fsad.nn.res_hgnn import ResHGNN

HIDDEN = 1024
KNN = 10


def stepper(graph: BankGraph, rectifier: ResHGNN) -> Callable[[], None]:
    """Make the training step of stage ``rectify``, without Lightning around it."""
    optimiser = torch.optim.Adam(rectifier.parameters(), lr=1e-3)

    def step() -> None:
        with torch.enable_grad():
            rectified = graph.rectified(rectifier)
            loss = graph.loss(rectified)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


class SparseRectifier(torch.nn.Module):
    """The same network over PyTorch's sparse matrices, as one would write it first."""

    def __init__(self, graph: BankGraph, rectifier: ResHGNN) -> None:
        super().__init__()
        hypergraph = graph.hypergraph
        incidence = sparse_incidence(
            hypergraph.members, hypergraph.memberships, len(graph.features)
        )
        self.incidence, self.transposed = incidence, incidence.T.coalesce()
        self.dv, self.de = hypergraph.dv.rsqrt()[:, None], hypergraph.de.reciprocal()[:, None]
        self.first = torch.nn.Parameter(rectifier.conv_in.theta.weight.detach().clone())
        self.second = torch.nn.Parameter(rectifier.conv_out.theta.weight.detach().clone())

    def _smooth(self, features: Tensor) -> Tensor:
        edges = self.de * torch.sparse.mm(self.transposed, self.dv * features)
        smoothed: Tensor = self.dv * torch.sparse.mm(self.incidence, edges)
        return smoothed

    def forward(self, features: Tensor) -> Tensor:
        """Rectify all vertices; eq. (8) and (9) read from left to right."""
        hidden = torch.sigmoid(self._smooth(features @ self.first.T))
        hidden = torch.nn.functional.dropout(hidden)
        out: Tensor = 0.3 * self._smooth(hidden @ self.second.T) + 0.7 * features
        return out


def run(bench: Bench) -> None:
    """Measure the size of the table, training step and forward pass."""
    vertices = bench.pick(full=20_000, quick=3_000, tiny=300)
    graph = BankGraph(*banks(vertices), KNN, "median")
    rectifier = ResHGNN(CHANNELS, HIDDEN)
    step = stepper(graph, rectifier)
    first = rectifier.conv_in.theta.weight.detach().clone()
    second = rectifier.conv_out.theta.weight.detach().clone()
    sparse = SparseRectifier(graph, rectifier)
    optimiser = torch.optim.Adam(sparse.parameters(), lr=1e-3)

    pseudo = graph.pseudo

    def sparse_step() -> None:
        with torch.enable_grad():
            rectified = sparse(graph.features)
            loss = mse_loss(rectified, pseudo) + mse_loss(rectified, graph.features)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    contenders: dict[str, Contender] = {
        "ours": timed(step),
        "bare": timed(lambda: bare_rectify_step(graph.features, first, second)),
        "sparse": timed(sparse_step),
        "ours forward": timed(lambda: graph.rectified(rectifier)),
        "bare forward": timed(lambda: bare_rectify_forward(graph.features, first, second)),
    }
    size = f"{vertices:,} vertices, {CHANNELS} → {HIDDEN} → {CHANNELS}"
    seconds = bench.race(size, contenders, bench.pick(full=5, quick=1, tiny=1))
    item = "rectify step"
    bench.rows += [
        within(
            item,
            size,
            "its five bare matmuls",
            seconds["ours"],
            seconds["bare"],
            1.5,
            "forward, backward and Adam",
        ),
        faster(item, size, "torch.sparse", seconds["ours"], seconds["sparse"]),
        within(
            "rectify, forward only",
            size,
            "its two bare matmuls",
            seconds["ours forward"],
            seconds["bare forward"],
        ),
    ]
