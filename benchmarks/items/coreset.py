"""Greedy k-centre coreset beside the naive loop and anomalib's."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import fresh
from benchmarks.bench import Bench
from benchmarks.features import patch_features
from benchmarks.record import Row, check, faster
from benchmarks.reference import greedy_steps
from benchmarks.timing import Contender, timed
from fsad.functional.coreset import k_center_greedy

RATIO = 10  # a tenth of the rows is kept


def run(bench: Bench) -> None:
    """Measure the sizes of the table, and real features where there are any."""
    for rows, channels in bench.pick(
        full=((78_400, 384), (191_000, 768)), quick=((6_000, 384),), tiny=((600, 16),)
    ):
        _measure(bench, torch.from_numpy(patch_features(rows, channels)), "")
    real = _real_features() if bench.scale != "tiny" else None
    if real is not None:
        _measure(bench, real, ", real (ResNet-18)")
    _memory(bench)


def _measure(bench: Bench, features: Tensor, what: str) -> None:
    rows, channels = features.shape
    count = rows // RATIO
    size = f"{rows:,} × {channels} → 10 %{what}"
    steps = bench.pick(full=40, quick=20, tiny=5)
    picks: list[Tensor] = []

    def ours() -> None:
        picks[:] = [k_center_greedy(features, count)]

    def naive() -> float:
        return timed(lambda: greedy_steps(features, steps))() * count / steps

    contenders: dict[str, Contender] = {"ours": timed(ours), "naive": naive}
    if bench.peer:
        bench.peer.give(features=features.numpy())
        contenders["anomalib"] = _peers_total(bench, count, steps)
    extrapolated = f"extrapolated from {steps} steps"
    seconds = bench.race(
        f"coreset {size}",
        contenders,
        # Ours runs in full; once is enough where that takes longest.
        repeats=bench.pick(full=3 if rows < 100_000 else 2, quick=2, tiny=1),
        notes={"naive": f"naive loop {extrapolated}", "anomalib": f"anomalib {extrapolated}"},
        warm_up=False,
    )
    if bench.peer:
        bench.peer.ask("forget")
    item = "coreset, exact"
    bench.rows.append(faster(item, size, "the naive loop", seconds["ours"], seconds["naive"]))
    if "anomalib" in seconds:
        need = 7 if rows >= 50_000 else None
        bench.rows.append(
            faster(item, size, "anomalib's loop", seconds["ours"], seconds["anomalib"], need)
        )
    prefix = bench.pick(full=200 if rows < 100_000 else 60, quick=60, tiny=30)
    expected = greedy_steps(features.double(), prefix)
    bench.rows.append(
        check(
            item,
            size,
            f"same first {prefix} indices as the naive loop",
            bool((picks[0][:prefix] == expected).all()),
            "naive loop in float64",
        )
    )


def _peers_total(bench: Bench, count: int, steps: int) -> Contender:
    def run() -> float:
        assert bench.peer is not None
        found = bench.peer.ask("coreset", name="features", steps=steps)
        return float(found["projection"] + found["loop"] / found["steps"] * count)

    return run


class LargeResults(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts results of at least ``numel`` elements that are no views of what went in."""

    def __init__(self, numel: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numel, self.count = numel, 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run the operation and look at what came out."""
        out = func(*args, **(kwargs or {}))
        known = {value.untyped_storage().data_ptr() for value in args if isinstance(value, Tensor)}
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, Tensor) and value.numel() >= self.numel:
                self.count += value.untyped_storage().data_ptr() not in known
        return out


def _memory(bench: Bench) -> None:
    rows, channels = bench.pick(full=(78_400, 384), quick=(6_000, 384), tiny=(600, 16))
    features = torch.from_numpy(patch_features(min(rows, 10_000), channels))
    counts = []
    for picks in (10, 100):
        with LargeResults(features.numel()) as large:
            k_center_greedy(features, picks)
        counts.append(large.count)
    bench.rows.append(
        check(
            "coreset, exact",
            f"{len(features):,} × {channels}",
            "no N × c temporary per step",
            counts[0] == counts[1],
            f"tensors of that size made in 10 and in 100 steps: {counts[0]} and {counts[1]}",
        )
    )
    found = fresh.measure(probe, rows=rows, channels=channels)
    share = found["transient_mb"] / (rows * channels * 4 / 2**20)
    bench.rows.append(
        Row(
            "coreset, exact",
            f"{rows:,} × {channels}",
            f"transient memory {share:.2f} × the features",
            share,
            ours=f"{found['transient_mb']:.0f} MB",
            note="resident memory, 100 steps in a fresh process",
        )
    )


def probe(rows: int, channels: int) -> Callable[[], object]:
    """Prepare a selection of 100 rows."""
    features = torch.from_numpy(patch_features(rows, channels))
    k_center_greedy(features[:200], 10)
    return lambda: k_center_greedy(features, min(100, rows))


def _real_features() -> Tensor | None:
    """Extract features of real photographs, where the environment says where they are."""
    folders: Mapping[str, str] = os.environ
    if not ("FSAD_REAL_DATA" in folders and "FSAD_REAL_WEIGHTS" in folders):
        return None
    from PIL import Image

    from fsad.nn.backbone import CnnExtractor

    files = sorted(Path(folders["FSAD_REAL_DATA"]).glob("mvtec3d/*/train/good/rgb/*.png"))
    weights = next(Path(folders["FSAD_REAL_WEIGHTS"]).glob("resnet18*.safetensors"), None)
    if not files or weights is None:
        return None
    extractor = CnnExtractor(
        "resnet18", "resnet18.tv_in1k", 224, ["layer1", "layer2"], weights_path=str(weights)
    )
    pictures = [
        np.asarray(Image.open(file).convert("RGB").resize((224, 224)), dtype=np.float32) / 255
        for file in files
    ]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    maps = torch.cat([extractor(batch) for batch in torch.split(images, 8)])
    features = maps.permute(0, 2, 3, 1).flatten(0, 2)
    return ((features - features.mean()) / features.std()).contiguous()
