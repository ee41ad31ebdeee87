"""The benchmarks run, and say what they found; what they found is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from memory_probe import ones_of

from benchmarks import fresh
from benchmarks.__main__ import ITEMS, arguments, main
from benchmarks.features import patch_features, patch_scores
from benchmarks.items.coreset import LargeResults
from benchmarks.items.metrics import state_mb
from benchmarks.peer import Peer, PeerError
from benchmarks.plot import draw
from benchmarks.record import Row, faster, limit, markdown, same_work, within
from benchmarks.reference import aupro, fit_exponent, greedy_steps
from benchmarks.timing import Timing, alternate
from fsad.metrics.masks import number_regions
from fsad.metrics.pro import area_to, pro_curve

ROOT = Path(__file__).parents[1]


def timing(*seconds):
    return Timing(seconds)


def test_contenders_take_turns_and_the_first_turn_does_not_count():
    calls = []

    def contender(name):
        def run():
            calls.append(name)
            return float(len(calls))

        return run

    found = alternate({"a": contender("a"), "b": contender("b")}, repeats=2)
    assert calls == ["a", "b"] * 3
    assert found["a"].seconds == (3.0, 5.0)
    assert found["b"].median == 5.0
    assert found["b"].least == 4.0


def test_ratios_are_of_medians_and_say_whether_they_suffice():
    quick, slow = timing(1.0, 1.0, 9.0), timing(8.0, 7.0, 1.0)
    assert faster("i", "s", "it", quick, slow, 7).value == 7.0
    assert faster("i", "s", "it", quick, slow, 7).met is True
    assert faster("i", "s", "it", quick, slow, 8).met is False
    assert faster("i", "s", "it", quick, slow).met is None
    assert within("i", "s", "it", slow, quick, 1.5).met is False
    assert limit("i", "s", "memory {}", 64.0, "MB", 64).met is True


def test_times_of_different_work_are_not_compared():
    same_work("their mean", 1.0001, 1.0)
    with pytest.raises(ValueError, match=r"their mean: expected 1, as ours, got 1\.01"):
        same_work("their mean", 1.01, 1.0)


def test_the_table_quotes_the_ratio_before_the_seconds():
    row = faster("coreset", "10 rows", "the loop", timing(0.5), timing(4.0), 7)
    machine = {
        "date": "2026-01-02",
        "git": "abc",
        "cpu": "a processor",
        "instructions": ["avx2"],
        "cores": 2,
        "threads": 1,
        "gpu": None,
        "scale": "full",
        "versions": {"torch": "2"},
    }
    line = markdown([{"rows": [vars(row)], "machine": machine}]).splitlines()[2]
    assert line == (
        "| coreset | 10 rows | **8 × as fast as the loop** | ≥ 7 × | yes | 500 ms | 4 s |  |"
    )


def test_features_depend_on_their_arguments_alone_and_are_standardised():
    once, again = patch_features(2000, 32), patch_features(2000, 32)
    np.testing.assert_array_equal(once, again)
    assert (once != patch_features(2000, 32, seed=1)).any()
    assert once.dtype == np.float32
    assert abs(once.mean()) < 0.01
    assert once.std() == pytest.approx(1, abs=0.01)


def test_the_naive_loop_picks_the_farthest_row_each_time():
    line = torch.tensor([[0.0], [1.0], [10.0], [4.0]])
    assert greedy_steps(line, 4).tolist() == [0, 2, 3, 1]


def test_the_plain_aupro_equals_ours():
    scores, truth = patch_scores(6)
    maps = np.repeat(np.repeat(scores, 8, axis=1), 8, axis=2)
    curve = pro_curve(torch.from_numpy(maps), number_regions(torch.from_numpy(truth)))
    assert aupro(maps, truth) == pytest.approx(area_to(0.3, *curve), abs=1e-12)


def test_the_exponent_of_a_power_is_found():
    assert fit_exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_large_results_are_counted_and_views_are_not():
    rows = torch.zeros(10, 4)
    with LargeResults(40) as large:
        rows.T.reshape(-1)[:5]  # a copy: reshaping what is transposed
        rows.view(-1)
        rows + 1
    assert large.count == 2


def test_state_counts_every_storage_once():
    held = torch.zeros(2**18)
    counts = np.zeros(2**17)
    assert state_mb({"a": held, "b": [held[:5], (held,)], "c": counts}) == 2.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's high-water mark")
def test_transient_memory_is_what_the_call_takes(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    found = fresh.measure(ones_of, megabytes=40)
    assert 38 < found["transient_mb"] < 60


def test_an_unknown_item_is_refused(capsys):
    with pytest.raises(SystemExit):
        arguments(["corset"])
    assert "item: expected one of coreset, nearest" in capsys.readouterr().err


def test_small_sizes_never_take_the_place_of_committed_results():
    assert arguments([]).out == ROOT / "benchmarks" / "results"
    assert arguments([]).plot == ROOT / "docs" / "images" / "growth.svg"
    for scale in ("--quick", "--tiny"):
        assert arguments([scale]).out == ROOT / "build" / "bench"
        assert arguments([scale]).plot.parent == ROOT / "build" / "bench"


def in_this_process(probe, **arguments):
    probe(**arguments)()
    return {"transient_mb": 1.0, "before_mb": 1.0, "peak_mb": 2.0, "seconds": 1.0}


@pytest.mark.parametrize(
    "item", [item for item in ITEMS if item not in ("imports", "start", "sweep")]
)
def test_an_item_runs_and_writes_its_rows(item, tmp_path, monkeypatch):
    monkeypatch.setattr(fresh, "measure", in_this_process)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # what main sets is put back
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    main(
        [item, "--tiny", "--threads", "1", "--peer", str(tmp_path / "none"), "--out", str(tmp_path)]
    )
    record = json.loads((tmp_path / f"{item}.json").read_text())
    assert {"date", "git", "cpu", "cores", "threads", "versions"} <= set(record["machine"])
    assert record["machine"]["scale"] == "tiny"
    rows = [Row(**row) for row in record["rows"]]
    table = (tmp_path / "table.md").read_text()
    assert rows
    assert all(f"**{row.result}**" in table for row in rows)
    assert record["seconds"] or record["series"]
    for contenders in record["seconds"].values():
        for found in contenders.values():
            assert found["min"] <= found["median"]


def test_an_environment_without_anomalib_is_refused(tmp_path):
    with pytest.raises(PeerError, match="versions: expected a result, got PackageNotFoundError"):
        Peer(Path(sys.executable), tmp_path)


def test_growth_is_drawn(tmp_path):
    series = {
        "stage": {"unit": "rows", "sizes": [1, 2], "seconds": [1.0, 4.0], "exponent": 2.0},
        "memory": {
            "sizes": [1, 4],
            "cap": 9,
            "transient_mb": {"capped": [1, 1], "all rows": [1, 4]},
        },
    }
    draw(series, tmp_path / "growth.svg")
    assert "<svg" in (tmp_path / "growth.svg").read_text()


def test_make_bench_passes_its_arguments_on():
    command = ["make", "--dry-run", "-o", ".venv/installed", "bench", "ARGS=coreset --quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "-m benchmarks coreset --quick" in done.stdout
