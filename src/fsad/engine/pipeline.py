"""A whole run: every category in turn, and a record that holes do not spoil."""

import csv
import gc
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fsad.data.canvas import Canvas
from fsad.data.datamodule import DataModule
from fsad.data.profile import InputProfile
from fsad.engine.category_run import CategoryRun
from fsad.engine.category_trainer import RunContext
from fsad.engine.plan import Method
from fsad.errors import ConfigError, DataError, FsadError, RunError, message_of
from fsad.nn.extractor import PatchExtractor
from fsad.results.record import (
    CATEGORY,
    CategoryResult,
    ScoreRow,
    read_category,
    write_result,
    write_scores,
)
from fsad.runtime.processes import is_rank_zero, is_several
from fsad.scores.parts import parts_in
from fsad.storage.csv_cells import plain
from fsad.storage.regular import refuse_irregular

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What a run needs, built.

    Attributes:
        method: The method.
        extractor: The frozen backbone.
        data: Data of all the run's categories.
        around: What all its categories share.
        output: The run's folder.
        config: The resolved configuration, for the record.
        seed: The run's seed.
        trained: Folder of a finished run to test again.
        maps: Whether to write pictures.
        report: Whether to keep what the report's figures show; without pictures neither is kept.
        resized: Builds the same backbone for a category's canvas; needed where images keep their
            shape.
    """

    method: Method
    extractor: PatchExtractor
    data: DataModule
    around: RunContext
    output: Path
    config: Mapping[str, Any]
    seed: int
    trained: Path | None = None
    maps: bool = True
    report: bool = True
    resized: Callable[[Canvas], PatchExtractor] | None = None


def run(job: Job) -> Path:
    """Run every category, write ``result.json`` and ``scores.csv``.

    A category that fails does not lose the others: they are run, written, and then the failure is
    raised.

    Returns:
        The path of ``result.json``.

    Raises:
        FsadError: The only category failed.
        RunError: Some of several categories failed; the message names them.
    """
    names = job.data.categories
    if any(job.output.glob("*.safetensors")):  # of stages of the run, maybe by other code
        job = replace(job, around=replace(job.around, store=None))
    done: dict[str, CategoryResult] = {}
    failed: dict[str, str] = {}
    for name in names:
        try:
            done[name] = _run_category(job, name, prefix=f"{name}/" if len(names) > 1 else "")
        except Exception as error:
            if len(names) == 1 or is_several():  # the other processes are still in this category
                raise
            failed[name] = message_of(error)
            log.error("%s: %s", name, failed[name], exc_info=not isinstance(error, FsadError))
        finally:
            # A Trainer and its module refer to each other: few objects, so Python is in no hurry
            # to collect them, but they hold banks (100 MB per job of a sweep, measured).
            if name not in done or "test" not in done[name].reused:
                gc.collect()
        if done and is_rank_zero():
            _write(job, done, failed)  # after every category, so that a killed run keeps them
    if failed:
        raise RunError(
            f"categories: expected {len(names)} to finish, got {len(done)}; failed: "
            + "; ".join(f"{name} ({reason})" for name, reason in failed.items())
            + f". The others' results are written. Mend the data and go on with resume={job.output}"
        )
    return job.output / "result.json"


def _run_category(job: Job, name: str, prefix: str) -> CategoryResult:
    log.info("category %s", name)
    trained = job.trained / "categories" / name if job.trained else None
    data = job.data.for_category(name)
    return CategoryRun(
        job.method,
        job.extractor,
        data,
        job.data,
        job.around,
        job.output / "categories" / name,
        trained=trained,
        maps=job.output / "maps" / name if job.maps else None,
        embeddings=job.report and job.maps,
        prefix=prefix,
        resized=partial(_resized, job, data, trained),
    ).run()


def _resized(job: Job, data: DataModule, trained: Path | None) -> PatchExtractor:
    """Return the backbone for a category's images, and tell its data what they are brought to.

    Raises:
        FsadError: As :meth:`~fsad.data.datamodule.DataModule.lay_out`.
        ConfigError: Images keep their shape, and the method wants squares, or trains a stage once
            for all categories.
    """
    if job.resized is None or data.resize == "square":
        return job.extractor
    if job.method.squares:
        raise ConfigError(
            f"data.resize: expected square with method {job.method.name}, which learns from "
            "squares alone, got keep. Choose data.resize=square, or another method."
        )
    if any(stage.scope == "run" for stage in job.method.plan(job.extractor).stages):
        raise ConfigError(
            "data.resize: expected square with a method that is trained once for all categories, "
            "got keep: each of them has its own shape. Choose data.resize=square."
        )
    if trained is not None and (trained / CATEGORY).exists():
        profile = InputProfile.from_json(read_category(trained).get("input"))
        data.canvas = (profile and profile.canvas) or data.canvas
    else:
        data.lay_out(job.extractor.cell)
    log.info("%s: images are brought to %d x %d pixels", data.category, *data.canvas.shape[::-1])
    return job.resized(data.canvas)


def _write(job: Job, done: Mapping[str, CategoryResult], failed: Mapping[str, str]) -> None:
    extractor = job.extractor
    backbone = {
        "name": extractor.name,
        "weights": extractor.weights,
        "sha256": extractor.sha256,
    }
    write_scores(job.output / "scores.csv", [row for name in done for row in _rows(job, name)])
    write_result(
        job.output / "result.json",
        method=job.method.name,
        seed=job.seed,
        config=job.config,
        backbone=backbone,
        categories=done,
        failed=failed,
    )


def _rows(job: Job, name: str) -> list[ScoreRow]:
    path = job.output / "categories" / name / "scores.csv"
    try:
        refuse_irregular(path)
        with path.open(encoding="utf-8", newline="") as file:
            return [_score_row(row) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: expected the scores of a finished category, got a file that cannot be read. "
            "Delete category.json beside it to have the category tested again."
        ) from error


def _score_row(row: Mapping[str, str]) -> ScoreRow:
    """Read a line of ``scores.csv``."""
    return ScoreRow(
        plain(row["category"]),
        plain(row["image"]),
        bool(int(row["label"])),
        plain(row["defect"]),
        float(row["score"]),
        parts_in(row),
    )
