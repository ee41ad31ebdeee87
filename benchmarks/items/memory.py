"""How memory grows while a bank is built from ever more source images, with a cap and without."""

from collections.abc import Callable

import torch

from benchmarks import fresh
from benchmarks.bench import Bench
from benchmarks.features import PATCHES, patch_features
from benchmarks.record import Row, limit
from fsad.nn.bank_stream import BankStream
from fsad.nn.memory_bank import MemoryBank

CHANNELS = 384
FLAT = 1.2  # times the memory for sixteen times the images counts as flat
TURNS = 3  # the least counts: what the allocator keeps in reserve differs by chance


def run(bench: Bench) -> None:
    """Measure the peak for 1, 4 and 16 times the images, with a cap and without."""
    images, cap, picks = bench.pick(full=(16, 3_000, 1_000), quick=(3, 400, 200), tiny=(1, 100, 50))
    sizes = [images, 4 * images, 16 * images]
    taken: dict[str, list[float]] = {"capped": [], "all rows": []}
    peaks: list[float] = []
    for count in sizes:
        # The bank's ratio falls as images grow, so that all banks have as many rows.
        ratio = picks / (count * PATCHES)
        for name, most in (("capped", cap), ("all rows", None)):
            turns = [
                fresh.measure(probe, images=count, ratio=ratio, max_rows=most)
                for _ in range(bench.pick(full=TURNS, quick=1, tiny=1))
            ]
            taken[name].append(min(found["transient_mb"] for found in turns))
            peaks.append(min(found["peak_mb"] for found in turns))
    bench.series["memory"] = {
        "unit": "images",
        "sizes": sizes,
        "cap": cap,
        "transient_mb": taken,
        "peak_mb": {"capped": peaks[::2], "all rows": peaks[1::2]},
    }
    size = f"{sizes[0]:,} → {sizes[-1]:,} images, {CHANNELS} channels"
    shown = {name: " → ".join(f"{value:.0f}" for value in of) for name, of in taken.items()}
    bench.rows += [
        limit(
            "memory while a bank is built",
            size,
            f"with method.bank_max_rows={cap}: {{}} the memory for 16 × the images",
            taken["capped"][-1] / taken["capped"][0],
            "×",
            FLAT,
            f"{shown['capped']} MB for 1 ×, 4 ×, 16 ×; resident memory at the peak less that "
            "before, the least of three fresh processes",
        ),
        Row(
            "memory while a bank is built",
            size,
            f"without a cap: {taken['all rows'][-1] / taken['all rows'][0]:.3g} × the memory for "
            "16 × the images",
            taken["all rows"][-1] / taken["all rows"][0],
            note=f"{shown['all rows']} MB",
        ),
    ]


def probe(images: int, ratio: float, max_rows: int | None) -> Callable[[], object]:
    """Prepare filling a bank from a stream of images' features."""

    def fill(count: int) -> None:
        stream = BankStream("source", ratio=ratio, max_rows=max_rows)
        for image in range(0, count, 4):
            batch = patch_features(min(4, count - image) * PATCHES, CHANNELS, seed=image)
            stream.add(torch.from_numpy(batch))
        stream.fill(MemoryBank("source"))

    return lambda: fill(images)
