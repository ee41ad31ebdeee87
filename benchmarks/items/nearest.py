"""Nearest neighbour scoring of one image's patches against a bank."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from benchmarks import fresh
from benchmarks.bench import Bench
from benchmarks.features import PATCHES, patch_features
from benchmarks.record import check, faster, limit, same_work
from benchmarks.reference import nearest_cdist, nearest_float64
from benchmarks.timing import Contender, timed
from fsad.functional.distance import nearest
from fsad.functional.prepared import prepare

CHANNELS = 768


def run(bench: Bench) -> None:
    """Measure the bank sizes of the table."""
    from sklearn.neighbors import NearestNeighbors

    queries = patch_features(PATCHES, CHANNELS, seed=1)
    item = "nearest neighbour"
    for rows in bench.pick(full=(16_000, 50_000), quick=(4_000,), tiny=(500,)):
        bank = patch_features(rows, CHANNELS)
        asked, rows_of = torch.from_numpy(queries), torch.from_numpy(bank)
        prepared = prepare(rows_of)  # once per test loop
        sklearn = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(bank)
        contenders: dict[str, Contender] = {
            "ours": timed(partial(nearest, asked, prepared)),
            "ours, bank not prepared": timed(partial(nearest, asked, rows_of)),
            "cdist": timed(partial(nearest_cdist, asked, rows_of)),
            "matmul": timed(partial(torch.mm, asked, rows_of.T)),
            "scikit-learn": timed(partial(sklearn.kneighbors, queries)),
        }
        if bench.peer:
            bench.peer.give(queries=queries, bank=bank)
            contenders["anomalib"] = bench.peer.contender("nearest", queries="queries", bank="bank")
        size = f"{PATCHES} × {rows:,}, {CHANNELS} channels"
        seconds = bench.race(f"nearest {size}", contenders, bench.pick(full=9, quick=2, tiny=1))
        for name, against, need in (
            ("anomalib", "anomalib's", 1),
            ("cdist", "torch.cdist", None),
            ("scikit-learn", "scikit-learn's brute force", None),
        ):
            if name in seconds:
                bench.rows.append(faster(item, size, against, seconds["ours"], seconds[name], need))
        distances, indices = nearest(asked, rows_of)
        if bench.peer:
            theirs = bench.peer.ask("nearest", queries="queries", bank="bank")["mean"]
            same_work("anomalib's mean distance", theirs, float(distances.mean()))
        every = bench.pick(full=4, quick=4, tiny=1)  # query: float64 takes its time
        expected = nearest_float64(asked[::every], rows_of)
        distances, indices = distances[::every], indices[::every]
        relative = ((distances[:, 0] - expected[0]).abs() / expected[0]).max()
        same = bool((indices[:, 0] == expected[1]).all())
        bench.rows.append(
            check(
                item,
                size,
                "same neighbours as float64 brute force, distances to float32 rounding",
                same and float(relative) < 1e-6,
                f"largest relative difference {float(relative):.1e} over {len(distances)} queries",
            )
        )
        found = fresh.measure(probe, rows=rows)
        bench.rows.append(
            limit(
                item,
                size,
                "transient memory {}",
                found["transient_mb"],
                "MB",
                64,
                "resident memory, in a fresh process, bank not prepared",
            )
        )
        if bench.peer and bench.scale == "full":
            with bench.peer.another() as other:  # no freed pages to hide in
                other.give(queries=queries, bank=bank)
                theirs = other.ask("nearest_memory", queries="queries", bank="bank")["transient_mb"]
            bench.rows[-1] = replace(bench.rows[-1], reference=f"anomalib {theirs:.0f} MB")
        if bench.peer:
            bench.peer.ask("forget")


def probe(rows: int) -> Callable[[], object]:
    """Prepare the search of one image's patches in a bank."""
    queries = torch.from_numpy(patch_features(PATCHES, CHANNELS, seed=1))
    bank = torch.from_numpy(patch_features(rows, CHANNELS))
    nearest(queries[:8], bank[:64])
    return lambda: nearest(queries, bank)
