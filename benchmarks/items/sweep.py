"""What is computed once: a second run of the same images, and a grid of alpha and beta."""

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.record import limit, seconds_in_words
from benchmarks.timing import Timing

ROOT = Path(__file__).parents[2]


def run(bench: Bench) -> None:
    """Run one job without a cache, all alphas at one beta, then the other betas.

    As ``sweep=alpha_beta`` runs them, without pictures, reports and thresholds. The grid's time is
    that of the last two together: what the alphas left in the cache is what the grid would have
    left there by then. That counts one more start-up, and the alphas' own cells, against it.
    """
    steps = bench.pick(full=11, quick=2, tiny=2)
    values = ",".join(f"{step / (steps - 1):.3g}" for step in range(steps))
    common = ["sweep=alpha_beta", "data.category=tile", "logger=none"]
    if bench.scale != "full":
        common += ["data.shots=1", "data.image_size=64", "method.rectify.epochs=5"]
    beta = "0.6" if steps == 11 else "0"
    alone, alphas, rest = (
        _sweep(bench.folder / "sweep", name, [*common, *words])
        for name, words in {
            # First, so that it also generates the data.
            "alone": ["method.alpha=0.5", "method.beta=0.5", "cache=none"],
            "alphas": [f"method.alpha={values}", f"method.beta={beta}"],
            "grid": [f"method.alpha={values}", f"method.beta={values}"],
        }.items()
    )
    for name, (seconds, _) in (("alphas", alphas), ("grid after the alphas", rest)):
        bench.timings[f"sweep, {name}"] = {"ours": Timing((seconds,))}
    item, size = "sweep", f"{steps} × {steps} alpha-beta grid, one generated category"
    bench.rows += [
        limit(
            item,
            size,
            f"{{}} the time of its {steps} alphas",
            (alphas[0] + rest[0]) / alphas[0],
            "×",
            1.3,
            f"whole commands from an empty cache: {seconds_in_words(alphas[0])} for the alphas, "
            f"{seconds_in_words(rest[0])} more for the grid, "
            f"{seconds_in_words(rest[0] / steps**2)} a cell",
        ),
        limit(
            item,
            size,
            f"{{}} of the backbone time of {steps**2} separate runs",
            100 * (alphas[1] + rest[1]) / (steps**2 * alone[1]),
            "%",
            5,
            "backbone_seconds of the results",
        ),
    ]


def _sweep(folder: Path, name: str, words: list[str]) -> tuple[float, float]:
    """Run a multirun; return its wall and its backbone seconds."""
    output = folder / name
    command = [sys.executable, "train.py", "-m", *words]
    command += [f"paths.cache_dir={folder / 'cache'}", f"hydra.sweep.dir={output}"]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    results = [json.loads(path.read_text()) for path in output.rglob("result.json")]
    backbone = sum(
        category["backbone_seconds"]
        for result in results
        for category in result["categories"].values()
    )
    return seconds, backbone
