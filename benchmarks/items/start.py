"""What ``fsad predict RUN_DIR IMAGE`` costs from start to end, beside what it cannot do without."""

import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.bench import Bench
from benchmarks.items.imports import wall
from benchmarks.record import within
from benchmarks.timing import Contender

ROOT = Path(__file__).parents[2]
NEEDED = "import torch, numpy, scipy.ndimage"
COMMAND = "from fsad.cli import main; main()"


def run(bench: Bench) -> None:
    """Train on generated images, and predict one of them in a new process each time.

    With the embedded backbone, as it comes. What cannot be done without is PyTorch, NumPy and
    SciPy.
    """
    folder = bench.folder / "start"
    words = ["data.category=tile", "logger=none", "report=false", "maps=false", "threshold=false"]
    if bench.scale != "full":
        words += ["data.shots=1", "data.image_size=64", "method.rectify.epochs=5"]
    paths = [f"paths.cache_dir={folder / 'cache'}", f"paths.output_dir={folder / 'run'}"]
    command = [sys.executable, "train.py", *words, *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    image = next((folder / "cache").glob("synthetic/*/tile/test/good/xyz/*.tiff"))
    seconds = bench.race(
        "start of a prediction",
        {
            "fsad predict": _predicting(folder, image),
            NEEDED: wall(sys.executable, "-c", NEEDED),
        },
        bench.pick(full=5, quick=2, tiny=1),
        warm_up=bench.scale == "full",
    )
    bench.rows.append(
        within(
            "start",
            "fsad predict RUN_DIR IMAGE, embedded backbone",
            NEEDED,
            seconds["fsad predict"],
            seconds[NEEDED],
            3,
            "whole processes; the import cannot be done without",
        )
    )


def _predicting(folder: Path, image: Path) -> Contender:
    def predict() -> float:
        out = Path(mkdtemp(dir=folder)) / "out"  # a new one each time
        words = ("predict", str(folder / "run"), str(image), "--out", str(out))
        return wall(sys.executable, "-c", COMMAND, *words)()

    return predict
