"""How cost grows: each stage against what it grows in."""

from collections.abc import Callable, Sequence

import torch

from benchmarks.bench import Bench
from benchmarks.features import PATCHES, patch_features, pictures
from benchmarks.items import hypergraph, metrics, query, rectify
from benchmarks.record import Row
from benchmarks.reference import fit_exponent
from benchmarks.timing import timed
from fsad.functional.coreset import k_center_greedy
from fsad.functional.distance import nearest
from fsad.methods.hypertrans.graph import BankGraph
from fsad.nn.res_hgnn import ResHGNN

CHANNELS = 384

Prepare = Callable[[int], Callable[[], object]]


def run(bench: Bench) -> None:
    """Measure the growth of every stage."""
    vit = bench.pick(
        full="vit_base_patch8_224.dino",
        quick="vit_tiny_patch16_224",
        tiny="vit_tiny_patch16_224",
    )
    extractor = query.vit(vit)

    def extract(images: int) -> Callable[[], object]:
        batch = torch.from_numpy(pictures(images, 224))
        return lambda: extractor(batch)

    stages: dict[str, tuple[str, Prepare, Sequence[int], Sequence[int]]] = {
        bench.pick(full="features (ViT-B/8)", quick="features", tiny="features"): (
            "images",
            extract,
            (1, 2, 4, 8),
            (1, 4),
        ),
        "coreset, 10 %": ("rows", _coreset, (5_000, 10_000, 20_000, 40_000), (500, 1_000)),
        "nearest, one image": (
            "bank rows",
            _nearest,
            (4_000, 8_000, 16_000, 32_000, 64_000),
            (500, 1_000),
        ),
        "hypergraph": ("vertices", _hypergraph, (2_500, 5_000, 10_000, 20_000), (500, 1_000)),
        "rectify step": ("vertices", _rectify, (2_500, 5_000, 10_000, 20_000), (500, 1_000)),
        "query, one image": ("bank rows", _query, (2_500, 5_000, 10_000, 20_000), (500, 1_000)),
        "metrics": ("images", _metrics, (25, 50, 100, 200, 400), (8, 16)),
    }
    for name, (unit, prepare, sizes, few) in stages.items():
        _grow(bench, name, unit, prepare, bench.pick(full=sizes, quick=few, tiny=few))


def _grow(bench: Bench, name: str, unit: str, prepare: Prepare, sizes: Sequence[int]) -> None:
    contenders = {str(size): timed(prepare(size)) for size in sizes}
    # Sizes take turns too, so that a slow minute does not bend the curve.
    seconds = bench.race(f"growth, {name}", contenders, bench.pick(full=2, quick=1, tiny=1))
    medians = [seconds[str(size)].median for size in sizes]
    exponent = fit_exponent(sizes, medians)
    bench.series[name] = {
        "unit": unit,
        "sizes": list(sizes),
        "seconds": medians,
        "exponent": exponent,
    }
    bench.rows.append(
        Row(
            "growth",
            f"{name}: {sizes[0]:,} to {sizes[-1]:,} {unit}",
            f"cost grows as {unit}^{exponent:.2f}",
            exponent,
            note="fitted over all sizes",
        )
    )


def _coreset(rows: int) -> Callable[[], object]:
    features = torch.from_numpy(patch_features(rows, CHANNELS))
    return lambda: k_center_greedy(features, rows // 10)


def _nearest(rows: int) -> Callable[[], object]:
    bank = torch.from_numpy(patch_features(rows, 768))
    queries = torch.from_numpy(patch_features(PATCHES, 768, seed=1))
    return lambda: nearest(queries, bank)


def _hypergraph(vertices: int) -> Callable[[], object]:
    source, target = hypergraph.banks(vertices)
    return lambda: hypergraph.build(source, target)


def _rectify(vertices: int) -> Callable[[], object]:
    graph = BankGraph(*hypergraph.banks(vertices), rectify.KNN, "median")
    return rectify.stepper(graph, ResHGNN(hypergraph.CHANNELS, rectify.HIDDEN))


def _query(rows: int) -> Callable[[], object]:
    source, target = query.banks(rows // 2, rows // 2, 768)
    module = query.scorer(source, target, query.queries(1, 768))
    return lambda: module.score(torch.empty(1, 3, 224, 224))


def _metrics(images: int) -> Callable[[], object]:
    maps, masks = metrics.category_maps(images)
    return lambda: metrics.evaluate(maps, masks, exact=False)
