"""What importing costs: a script that needs nothing must not pay for what it does not use."""

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.record import faster, limit
from benchmarks.timing import Contender

ROOT = Path(__file__).parents[2]


def wall(*command: str) -> Contender:
    """Time a process from start to end."""

    def run() -> float:
        start = time.perf_counter()
        _run(command)
        return time.perf_counter() - start

    return run


def processor(*command: str) -> Contender:
    """Take a process's CPU seconds, of its children too."""

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        _run(command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def run(bench: Bench) -> None:
    """Measure the imports of the table."""
    python = sys.executable
    contenders: dict[str, Contender] = {
        "import fsad": wall(python, "-c", "import fsad"),
        "python": wall(python, "-c", "pass"),
        "train.py --help": processor(python, "train.py", "--help"),
    }
    if bench.peer and bench.scale == "full":
        contenders["import anomalib"] = wall(
            bench.peer.python, "-c", "from anomalib.models import Patchcore"
        )
        contenders["anomalib --help"] = processor(
            str(Path(bench.peer.python).with_name("anomalib")), "--help"
        )
    seconds = bench.race(
        "imports", contenders, bench.pick(full=3, quick=1, tiny=1), warm_up=bench.scale == "full"
    )
    ours, help_ = seconds["import fsad"], seconds["train.py --help"]
    alone = f"an empty script takes {1000 * seconds['python'].median:.0f} ms"
    bench.rows += [
        limit("import", "python -c 'import fsad'", "{} wall", ours.median, "s", 0.2, alone),
        limit("import", "train.py --help", "{} CPU", help_.median, "s", 4),
    ]
    if "anomalib --help" in seconds:
        bench.rows += [
            faster(
                "import",
                "python -c 'import fsad'",
                "from anomalib.models import Patchcore",
                ours,
                seconds["import anomalib"],
            ),
            faster(
                "import",
                "train.py --help",
                "anomalib --help",
                help_,
                seconds["anomalib --help"],
            ),
        ]
