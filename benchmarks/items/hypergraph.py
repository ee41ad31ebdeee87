"""Building the hypergraph over both banks: neighbours within and across the domains."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import fresh
from benchmarks.bench import Bench
from benchmarks.features import patch_features
from benchmarks.record import faster, limit, within
from benchmarks.reference import bare_search, nearest_cdist
from benchmarks.timing import Contender, timed
from fsad.functional.hypergraph import SoftHypergraph
from fsad.functional.neighbours import bank_neighbours

CHANNELS = 768
KNN = 10
TARGET = 3920  # patches of five shots


def banks(vertices: int, channels: int = CHANNELS) -> tuple[Tensor, Tensor]:
    """Make a source and a target bank of ``vertices`` rows together."""
    target = min(TARGET, vertices // 2)
    return (
        torch.from_numpy(patch_features(vertices - target, channels)),
        torch.from_numpy(patch_features(target, channels, seed=1)) + 0.5,
    )


def build(source: Tensor, target: Tensor) -> SoftHypergraph:
    """Build the hypergraph of two banks."""
    return SoftHypergraph.from_neighbours(bank_neighbours(source, target, KNN))


def run(bench: Bench) -> None:
    """Measure the size of the table."""
    from sklearn.neighbors import NearestNeighbors

    vertices = bench.pick(full=20_000, quick=3_000, tiny=300)
    source, target = banks(vertices)
    pairs = [(own, other) for own in (source, target) for other in (source, target)]

    def bare() -> None:
        for queries, bank in pairs:
            bare_search(queries, bank, KNN // 2)

    def cdist() -> None:
        for queries, bank in pairs:
            nearest_cdist(queries, bank, KNN // 2)

    def sklearn() -> None:
        for queries, bank in pairs:
            search = NearestNeighbors(n_neighbors=KNN // 2, algorithm="brute").fit(bank.numpy())
            search.kneighbors(queries.numpy())

    contenders: dict[str, Contender] = {
        "ours": timed(lambda: build(source, target)),
        "bare": timed(bare),
        "cdist": timed(cdist),
        "scikit-learn": timed(sklearn),
    }
    item, size = "hypergraph construction", f"{vertices:,} vertices × {CHANNELS}"
    seconds = bench.race(size, contenders, bench.pick(full=2, quick=1, tiny=1))
    bench.rows += [
        within(
            item,
            size,
            "the bare chunked matmul + top-k",
            seconds["ours"],
            seconds["bare"],
            1.5,
            f"source {len(source):,}, target {len(target):,}, {KNN} neighbours",
        ),
        faster(item, size, "torch.cdist + top-k", seconds["ours"], seconds["cdist"]),
        faster(item, size, "scikit-learn's brute force", seconds["ours"], seconds["scikit-learn"]),
        limit(
            item,
            size,
            "transient memory {}",
            fresh.measure(probe, vertices=vertices)["transient_mb"],
            "MB",
            256,
            "resident memory, in a fresh process; the hypergraph itself included",
        ),
    ]


def probe(vertices: int) -> Callable[[], object]:
    """Prepare building a hypergraph."""
    source, target = banks(vertices)
    build(source[:100], target[:100])
    return lambda: build(source, target)
