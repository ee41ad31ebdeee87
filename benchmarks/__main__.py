"""Run benchmarks: ``python -m benchmarks [ITEM ...] [--quick] [--threads N] [--peer PYTHON]``."""

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ITEMS = (
    "coreset",
    "nearest",
    "hypergraph",
    "rectify",
    "query",
    "subspace",
    "open_set",
    "htdg",
    "ideal",
    "patchcore",
    "metrics",
    "imports",
    "start",
    "precision",
    "sweep",
    "scaling",
    "memory",
)
LONG = ("start", "patchcore", "sweep")  # left out of quick runs unless asked for
ROOT = Path(__file__).parents[1]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("items", nargs="*", metavar="ITEM", help=f"of {', '.join(ITEMS)}; all")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument(
        "--quick",
        dest="scale",
        action="store_const",
        const="quick",
        help="small sizes, about a minute",
    )
    scale.add_argument(
        "--tiny", dest="scale", action="store_const", const="tiny", help="smaller still, for tests"
    )
    parser.add_argument("--threads", type=int, default=2, help="of every contender; 2")
    parser.add_argument(
        "--peer",
        type=Path,
        default=ROOT / ".venv-peer" / "bin" / "python",
        help="interpreter with anomalib; left out if it is not there",
    )
    parser.add_argument("--out", type=Path, help="folder of the results; benchmarks/results")
    parser.add_argument("--plot", type=Path, help="the growth curves; docs/images/growth.svg")
    parser.set_defaults(scale="full")
    given = parser.parse_args(words)
    unknown = set(given.items) - set(ITEMS)
    if unknown:
        parser.error(f"item: expected one of {', '.join(ITEMS)}, got {', '.join(sorted(unknown))}")
    # Small sizes never take the place of committed results.
    full = given.scale == "full"
    given.items = given.items or [item for item in ITEMS if full or item not in LONG]
    trial = ROOT / "build" / "bench"
    given.out = given.out or (ROOT / "benchmarks" / "results" if full else trial)
    given.plot = given.plot or (ROOT / "docs" / "images" if full else given.out) / "growth.svg"
    return given


def main(words: Sequence[str] | None = None) -> None:
    """Run the chosen items and write what they found."""
    given = arguments(words)
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # before anything starts a thread pool
    os.environ["OPENBLAS_NUM_THREADS"] = str(given.threads)
    import torch

    from benchmarks.bench import Bench
    from benchmarks.machine import describe
    from benchmarks.peer import Peer, PeerError
    from benchmarks.plot import draw
    from benchmarks.record import item_record, markdown, write_json

    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore", category=FutureWarning)
    failed: list[str] = []
    with ExitStack() as stack, torch.no_grad():
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fsad-bench-")))
        peer = None
        try:
            peer = stack.enter_context(Peer(given.peer, folder))
        except (OSError, PeerError) as error:
            print(f"anomalib is left out: {error}. Install it with make bench-peer")
        machine = describe(given.scale, peer.versions if peer else {})
        for item in given.items:
            start = time.perf_counter()
            bench = Bench(given.scale, folder, peer)
            torch.manual_seed(0)
            path = given.out / f"{item}.json"
            try:
                importlib.import_module(f"benchmarks.items.{item}").run(bench)
            except Exception:  # the others are worth measuring all the same
                traceback.print_exc()
                print(f"{item}: FAILED", flush=True)
                failed.append(item)
                path.unlink(missing_ok=True)  # of an earlier run
                continue
            taken = time.perf_counter() - start
            record = item_record(machine, bench.rows, bench.timings, bench.series)
            write_json(path, {"item": item, "took": taken, **record})
            print(f"{item}: {taken:.0f} s", flush=True)
            for row in bench.rows:
                met = {None: "", True: "  ok", False: f"  NOT MET: {row.requirement}"}[row.met]
                print(f"  {row.size}: {row.result}{met}", flush=True)
    records = [_read(given.out / f"{item}.json") for item in ITEMS]
    if not {"scaling", "memory"}.isdisjoint(given.items):
        series: dict[str, Any] = {}
        for found in records:
            series |= found.get("series", {})
        draw(series, given.plot)
    table = given.out / "table.md"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(markdown([found for found in records if found]), encoding="utf-8")
    print(f"table in {table}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


if __name__ == "__main__":
    main()
