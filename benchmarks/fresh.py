"""Peak memory of one call, measured in a process of its own.

A probe is a function ``module:name`` that prepares its data, warms up on a small part of it and
returns the call to be measured.
"""

import ctypes
import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Probe = Callable[..., Callable[[], object]]


def measure(probe: Probe, **arguments: Any) -> dict[str, float]:
    """Run a probe in a fresh process.

    Returns:
        ``transient_mb``: resident memory at the peak of the call less that before it (the kernel's
        own high-water mark, set back before the call; where that cannot be done, of the whole
        process, which is less exact). ``peak_mb``: at the peak, everything included. ``seconds``.
    """
    name = f"{probe.__module__}:{probe.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fresh", name, json.dumps(arguments)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    if done.returncode:
        raise RuntimeError(f"{name}: expected figures, got\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure the probe named on the command line and print what was found."""
    import time

    module, name = sys.argv[1].split(":")
    call = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    _trim()
    exact = _restart_peak()
    before = _resident() if exact else _peak()
    start = time.perf_counter()
    call()
    taken = time.perf_counter() - start
    peak = _peak()
    print(
        json.dumps(
            {"transient_mb": peak - before, "before_mb": before, "peak_mb": peak, "seconds": taken}
        )
    )


def _trim() -> None:
    """Give freed memory back, so that it does not hide what the call needs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def _restart_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def _peak() -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**10


if __name__ == "__main__":
    main()
