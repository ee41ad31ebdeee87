"""Runs where earlier ones died, where batches differ, and on files with odd names."""

import csv
import io
import os
import shutil

import pytest
from small_runs import GENERATED, REST, settled

from fsad.results.table import collect
from fsad.run.job import run_job

PLAIN = [word for word in REST if not word.startswith("method.")]


def left_in(folder):
    """Leave an unfinished file there, as a process that died long ago did."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".banks.safetensors.0000abcd-1-1.{0:032x}.part"
    path.touch()
    os.utime(path, (0, 0))
    return path


def test_a_run_gone_on_with_sweeps_what_dead_ones_left_in_its_folder_and_the_cache(
    run, finished, cache, tmp_path
):
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    left = [left_in(copy / "categories" / "tile"), left_in(copy), left_in(cache / "tensors" / "ab")]
    run(copy, f"resume={copy}")
    assert not any(path.exists() for path in left)


@pytest.fixture(scope="module")
def scores_of(cache, tmp_path_factory):
    """``scores_of("data.batch_size=1")``: the scores of PatchCore on the shipped backbone."""

    def get(*words):
        folder = tmp_path_factory.mktemp("run")
        paths = [f"paths.output_dir={folder}", f"paths.cache_dir={cache}"]
        run_job(settled([*paths, *GENERATED, *PLAIN, "backbone=tiny", "method=patchcore", *words]))
        return (folder / "scores.csv").read_text()

    return get


@pytest.mark.slow
def test_at_64_pixels_the_scores_do_not_depend_on_batches_or_on_what_the_cache_holds(
    scores_of, tmp_path
):
    plain = scores_of("cache=none", "data.batch_size=1", "maps=false")
    assert scores_of("cache=none", "data.batch_size=6", "maps=false") == plain
    kept = ("cache=default", "maps=false", f"paths.cache_dir={tmp_path}")
    assert scores_of(*kept, "data.batch_size=2") == plain
    assert scores_of(*kept, "data.batch_size=6") == plain


@pytest.mark.slow
@pytest.mark.usefixtures("finished")  # which generated the set
def test_a_run_on_files_with_odd_names_ends_and_its_tables_can_be_read_back(cache, tmp_path):
    made = sorted(cache.glob("synthetic/*/tile"))[0]
    root = tmp_path / "set"
    shutil.copytree(made, root / "tile")
    for kind in ("rgb", "xyz", "gt"):
        for number, name in enumerate((os.fsdecode(b"=\xff"), "-a|`<b>`")):
            (old,) = (root / "tile/test/good" / kind).glob(f"00{number}.*")
            old.rename(old.with_name(name + old.suffix))
    out = tmp_path / "run"
    words = [word for word in PLAIN if word != "report=false"]
    paths = [f"paths.output_dir={out}", f"paths.cache_dir={cache}", f"data.root={root}"]
    run_job(settled([*paths, "data=mvtec3d", *words, "backbone=tiny", "method=raw", "cache=none"]))
    rows = list(csv.DictReader(io.StringIO((out / "scores.csv").read_text(encoding="utf-8"))))
    assert len(rows) == len(list((root / "tile/test").glob("*/xyz/*")))
    assert (out / "report.html").exists()
    assert not collect([out]).problems
