"""AUROC and AU-PRO of a category's maps."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.features import patch_scores
from benchmarks.peer import Peer
from benchmarks.record import MB, faster, limit, same_work
from benchmarks.reference import aupro, auroc
from benchmarks.timing import Contender, timed
from fsad.functional.scoring import anomaly_maps
from fsad.metrics.anomaly import Evaluation

SIZE = 224
BATCH = 8
NAME = "fused"


def evaluate(maps: Tensor, masks: Tensor, *, exact: bool) -> tuple[Evaluation, dict[str, Any]]:
    """Measure one scored set as the test loop does."""
    evaluation = Evaluation((NAME,), exact=exact)
    labels, parts = masks.any(dim=(1, 2)), torch.ones_like(masks)
    parts[:, : SIZE // 4] = False
    for start in range(0, len(maps), BATCH):
        rows = slice(start, start + BATCH)
        scored = {NAME: (maps[rows].amax(dim=(1, 2)), maps[rows])}
        evaluation.update(labels[rows], masks[rows], parts[rows], scored)
    return evaluation, dict(evaluation.compute()[NAME])


def category_maps(images: int) -> tuple[Tensor, Tensor]:
    """Make anomaly maps as the test loop does, and their masks."""
    scores, masks = patch_scores(images)
    return anomaly_maps(torch.from_numpy(scores), SIZE), torch.from_numpy(masks)


def run(bench: Bench) -> None:
    """Measure the number of maps of the table."""
    images = bench.pick(full=400, quick=24, tiny=8)
    maps, masks = category_maps(images)
    # anomalib's AUROC squashes scores outside [0, 1], so it gets them inside.
    inside = ((maps - maps.min()) / (maps.max() - maps.min())).numpy()
    truth = masks.numpy()
    answers: list[dict[str, float]] = []
    contenders: dict[str, Contender] = {
        "ours": timed(lambda: evaluate(maps, masks, exact=False)),
        "exact": timed(lambda: evaluate(maps, masks, exact=True)),
        "scikit-learn": timed(lambda: (auroc(inside, truth), aupro(inside, truth))),
    }
    if bench.peer:
        bench.peer.give(maps=inside, masks=truth)
        contenders["anomalib"] = partial(_theirs, bench.peer, answers)
    item, size = "metrics", f"{images} maps of {SIZE} px"
    seconds = bench.race(size, contenders, bench.pick(full=2, quick=1, tiny=1), warm_up=False)
    ours, five = seconds["ours"], "ours: all five metrics"
    need = 1 if bench.scale == "full" else None
    for name, against in (
        ("anomalib", "anomalib's AUROC + AU-PRO"),
        ("scikit-learn", "scikit-learn's AUROC + a sorted AU-PRO"),
        ("exact", "our exact=True (torchmetrics)"),
    ):
        if name in seconds:
            bench.rows.append(faster(item, size, against, ours, seconds[name]))
    if need:
        bench.rows.append(limit(item, size, "update + compute in {}", ours.median, "s", need, five))
    _, found = evaluate(maps, masks, exact=False)
    truth64 = {"pixel_auroc": auroc(maps.numpy(), truth), "aupro30": aupro(maps.numpy(), truth)}
    worst = max(abs(found[name] - value) for name, value in truth64.items())
    bench.rows.append(
        limit(item, size, "difference to exact {}", worst, "", 1e-5, "pixel AUROC and AU-PRO@0.3")
    )
    sizes = [max(1, images // 8), images]
    states = [state_mb(evaluate(maps[:n], masks[:n], exact=False)[0]) for n in sizes]
    bench.rows.append(
        limit(
            item,
            size,
            "state {}",
            states[-1],
            "MB",
            16,
            f"bytes of all tensors and arrays kept; {states[0]:.2f} MB after {sizes[0]} images",
        )
    )
    if bench.peer:
        for theirs, name in (("auroc", "pixel_auroc"), ("aupro", "aupro30")):
            same_work(f"anomalib's {theirs}", answers[-1][theirs], truth64[name])
        bench.rows[-1] = replace(
            bench.rows[-1], reference=f"anomalib {answers[-1]['state_mb']:.0f} MB"
        )
        bench.peer.ask("forget")


def _theirs(peer: Peer, answers: list[dict[str, float]]) -> float:
    """Have anomalib measure; note its whole answer, and return its seconds."""
    answer = peer.ask("metrics", maps="maps", masks="masks", batch=BATCH)
    answers.append(answer)
    return float(answer["seconds"])


def state_mb(holder: object) -> float:
    """Return the bytes of every tensor and array that an object holds, in MB, each memory once."""
    storages = {}
    for found in _arrays(holder, set()):
        storage = torch.as_tensor(found).untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values()) / MB


def _arrays(holder: Any, seen: set[int]) -> Iterator[Tensor | NDArray[Any]]:
    if id(holder) in seen:
        return
    seen.add(id(holder))
    if isinstance(holder, Tensor | np.ndarray):
        yield holder
    elif isinstance(holder, dict):
        for value in holder.values():
            yield from _arrays(value, seen)
    elif isinstance(holder, list | tuple | set):
        for value in holder:
            yield from _arrays(value, seen)
    elif type(holder).__module__.split(".")[0] in ("fsad", "torchmetrics"):
        yield from _arrays(vars(holder), seen)
