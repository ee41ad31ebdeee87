"""anomalib's own classes, timed on data that the benchmark hands over.

Runs under the peer environment's interpreter and imports nothing of this project. Reads one JSON
request per line, answers with one JSON line; what anomalib prints goes to standard error.
"""

# mypy: disable-error-code="import-not-found"

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
import torch

data: dict[str, torch.Tensor] = {}


def load(path: str, name: str) -> None:
    """Read an array into memory."""
    data[name] = torch.from_numpy(np.load(path))
    _models.pop(name, None)  # of an earlier array of this name


def forget() -> None:
    """Drop all arrays."""
    data.clear()
    _models.clear()


def versions() -> dict[str, str]:
    """Return what the figures depend on."""
    return {name: metadata.version(name) for name in ("anomalib", "torch", "torchmetrics", "numpy")}


def coreset(name: str, steps: int) -> dict[str, float]:
    """Run the sampler's own selection over its first steps; projection is timed apart."""
    from anomalib.models.components.sampling.k_center_greedy import KCenterGreedy

    features = data[name]
    sampler = KCenterGreedy(features, (steps + 1.5) / len(features))
    projection = 0.0

    def watched(call: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], Any]:
        def run(embedding: torch.Tensor) -> Any:
            nonlocal projection
            start = time.perf_counter()
            result = call(embedding)
            projection += time.perf_counter() - start
            return result

        return run

    model: Any = sampler.model
    model.fit, model.transform = watched(model.fit), watched(model.transform)
    np.random.seed(0)  # the projection draws from the global state
    torch.manual_seed(0)
    start = time.perf_counter()
    picks = sampler.select_coreset_idxs()
    total = time.perf_counter() - start
    return {
        "projection": projection,
        "steps": len(picks) - 1,
        "loop": total - projection,
        "channels": sampler.features.shape[1],
    }


def nearest(queries: str, bank: str) -> dict[str, float]:
    """Score one image's patches against a bank, as the test loop does."""
    model = _patchcore(bank)
    start = time.perf_counter()
    distances, _ = model.nearest_neighbors(data[queries], n_neighbors=1)
    return {"seconds": time.perf_counter() - start, "mean": float(distances.mean())}


def nearest_memory(queries: str, bank: str) -> dict[str, float]:
    """Measure the memory that :func:`nearest` takes for a while, where the system tells."""
    model = _patchcore(bank)
    model.nearest_neighbors(data[queries][:8], n_neighbors=1)
    ctypes.CDLL(None).malloc_trim(0)  # freed pages would hide what the call needs
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the peak starts anew
    before = _status("VmRSS")
    model.nearest_neighbors(data[queries], n_neighbors=1)
    return {"transient_mb": (_status("VmHWM") - before) / 1024}


def score(queries: str, bank: str) -> dict[str, float]:
    """Score one image with PatchCore's re-weighting, features given."""
    model = _patchcore(bank)
    start = time.perf_counter()
    scores, places = model.nearest_neighbors(data[queries], n_neighbors=1)
    model.compute_anomaly_score(scores[None], places[None], data[queries])
    return {"seconds": time.perf_counter() - start}


def metrics(maps: str, masks: str, batch: int) -> dict[str, float]:
    """Measure pixel AUROC and AU-PRO, update and compute."""
    from anomalib.metrics.aupro import _AUPRO
    from anomalib.metrics.auroc import _AUROC

    start = time.perf_counter()
    auroc, aupro = _AUROC(), _AUPRO()
    batches = (torch.split(data[name], batch) for name in (maps, masks))
    for scores, truth in zip(*batches, strict=True):
        auroc.update(scores, truth.int())
        aupro.update(scores, truth.int())
    found = float(auroc.compute()), float(aupro.compute())
    return {
        "seconds": time.perf_counter() - start,
        "auroc": found[0],
        "aupro": found[1],
        "state_mb": sum(
            part.numel() * part.element_size()
            for metric in (auroc, aupro)
            for part in (*metric.preds, *metric.target)
        )
        / 2**20,
    }


def _patchcore(bank: str) -> Any:
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    if bank not in _models:
        _models.clear()
        model = PatchcoreModel(layers=["layer1"], backbone="resnet18", pre_trained=False)
        model.memory_bank = data[bank]
        _models[bank] = model.eval()
    return _models[bank]


_models: dict[str, Any] = {}


def _status(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field + ":"))


REQUESTS: dict[str, Callable[..., Any]] = {
    call.__name__: call
    for call in (load, forget, versions, coreset, nearest, nearest_memory, score, metrics)
}


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    torch.set_num_threads(int(sys.argv[1]))
    torch.set_grad_enabled(False)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": REQUESTS[request.pop("call")](**request)}
        except Exception as error:  # the benchmark says it and goes on without the peer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
