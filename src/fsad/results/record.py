"""The record of one run: ``result.json`` and ``scores.csv``, written and read back."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from fsad.errors import DataError, MissingDataError, is_finite, is_fraction, message_of
from fsad.metrics import METRICS
from fsad.results.result import CategoryResult, Metrics, RunResult, ScoreRow, as_json
from fsad.runtime.provenance import peak_rss_mb, revision_of, versions
from fsad.scores.parts import part_columns
from fsad.storage.csv_cells import guarded
from fsad.storage.digests import refuse_changed, table_digest
from fsad.storage.regular import refuse_irregular
from fsad.storage.tensors import write_json, write_text

SCHEMA = 1
CATEGORY = "category.json"
"""What ends a category in its folder: its entry of ``result.json``, sigma and beta of its plan."""
READ = ("method", "seed", "config", "git", "versions", "backbone", "mean", "failed")

__all__ = [
    "CATEGORY",
    "CategoryResult",
    "Metrics",
    "RunResult",
    "ScoreRow",
    "mean_over",
    "peak_rss_mb",
    "read_category",
    "read_result",
    "write_result",
    "write_scores",
]


def mean_over(results: Iterable[Metrics]) -> dict[str, float | None]:
    """Average each metric over the results that have it; ``None`` if none has."""
    sets = list(results)
    mean: dict[str, float | None] = {}
    for metric in METRICS:
        known = [number for each in sets if (number := each.get(metric)) is not None]
        mean[metric] = sum(known) / len(known) if known else None
    return mean


def _notes_on_mean(categories: Mapping[str, CategoryResult], failed: Iterable[str]) -> list[str]:
    """Name the categories that the mean leaves out, metric by metric, and say how many are left."""
    notes = [f"mean: without {name}, which failed" for name in failed]
    for metric in METRICS:
        without = [name for name, each in categories.items() if each.fused.get(metric) is None]
        if without:
            few = f"over {len(categories) - len(without)} of {len(categories)} categories"
            notes.append(
                f"mean {metric}: {few}, without {', '.join(without)}, where it is undefined"
            )
    return notes


@lru_cache  # of the code that this process runs, whatever becomes of its files
def _own_revision() -> str | None:
    return revision_of(Path(__file__).resolve())


def write_result(
    path: Path,
    method: str,
    seed: int,
    config: Mapping[str, Any],
    backbone: Mapping[str, Any],
    categories: Mapping[str, CategoryResult],
    failed: Mapping[str, str],
) -> None:
    """Write ``result.json``.

    ``mean`` averages each fused metric over the categories that have a number, and ``notes`` names
    those it leaves out.

    Args:
        path: The file.
        method: The method's name.
        seed: The run's seed.
        config: The resolved configuration.
        backbone: ``name``, ``weights`` ("pretrained", "shipped", "file" or "random weights") and
            ``sha256``.
        categories: Results by category.
        failed: Why a category has no result, by category.

    Raises:
        OutputError: The file cannot be written.
    """
    result = {
        "schema": SCHEMA,
        "method": method,
        "seed": seed,
        "config": config,
        "git": _own_revision(),
        "versions": versions(),
        "backbone": backbone,
        "categories": {name: each.to_json() for name, each in categories.items()},
        "mean": mean_over(each.fused for each in categories.values()),
        "failed": failed,
        "notes": _notes_on_mean(categories, failed),
    }
    write_json(path, as_json(result))


def read_result(path: Path) -> RunResult:
    """Read ``result.json`` back.

    Raises:
        MissingDataError: There is no such file.
        DataError: It is cut short, no regular file, or not a result of this schema.

    Examples:
        >>> from pathlib import Path
        >>> import fsad
        >>> result = fsad.read_result(Path("outputs/hypertrans/result.json"))
        >>> result.method, result.seed
        ('hypertrans', 0)
        >>> sorted(result.mean)
        ['aupro05', 'aupro30', 'image_auroc', 'pixel_auroc', 'pixel_auroc_part']
    """
    refuse_irregular(path)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MissingDataError(f"{path}: expected a result.json, got '{reason}'") from error
    except ValueError as error:  # json.JSONDecodeError and UnicodeDecodeError
        raise DataError(
            f"{path}: expected JSON, got '{message_of(error)}'. {_again(path)}"
        ) from error
    schema = result.get("schema") if isinstance(result, dict) else None
    if schema != SCHEMA:
        raise DataError(
            f"{path}: expected a result with schema {SCHEMA}, got schema {schema!r}. "
            "Read it with the version of fsad that wrote it."
        )
    try:
        for name in ("config", "backbone", "categories", "mean", "failed"):
            if not isinstance(result[name], dict):
                raise DataError(
                    f"{path}: expected an object at '{name}', got {result[name]!r}. {_again(path)}"
                )
        entries = result["categories"].items()
        return RunResult(
            path=path,
            categories={name: CategoryResult.from_json(entry) for name, entry in entries},
            **{name: result[name] for name in READ},
        )
    except KeyError as error:
        raise DataError(
            f"{path}: expected the key {error}, got a result without it. {_again(path)}"
        ) from error
    except TypeError as error:
        raise DataError(
            f"{path}: expected a result, got '{message_of(error)}'. {_again(path)}"
        ) from error


def _again(path: Path) -> str:
    """Say how a finished run writes its result anew, without computing anything again."""
    return f"Delete it, then say: python train.py resume={path.parent}"


def read_category(folder: Path) -> dict[str, Any]:
    """Read ``category.json`` of a finished category's folder back, as it is.

    Returns:
        Its keys; ``sigma`` and ``combination``, by which maps are blurred and parts become one,
        are not among them in runs of earlier versions.

    Raises:
        DataError: It cannot be read.
    """
    path = folder / CATEGORY
    try:
        refuse_irregular(path)
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record, dict) and _is_category(record):
            refuse_changed(record)
            return record
        cause: Exception = ValueError("values of another kind or out of range")
    except (OSError, ValueError, RecursionError) as error:
        cause = error
    raise DataError(
        f"{path}: expected a finished category's result, got a file that cannot be read "
        f"({message_of(cause)}). Copy the whole folder of the run, or delete this file and say: "
        f"python train.py resume={folder.parents[1]}"
    ) from cause


def _is_category(record: Mapping[str, Any]) -> bool:
    """Tell whether what is read one by one is of the kind that a run writes, and in range."""
    prepared = record.get("prepared")
    above = prepared.get("threshold", "") if isinstance(prepared, dict) and prepared else None
    sigma = record.get("sigma", 0.0)
    return (
        isinstance(prepared, dict | None)
        and is_fraction(record.get("beta", 0.0))
        and _is_combination(record.get("combination", {"kind": "", "weights": {}}))
        and is_finite(sigma)
        and sigma >= 0
        and (above is None or is_finite(above))
    )


def _is_combination(value: object) -> bool:
    """Tell whether it says how the parts of a score become one."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("kind"), str)
        and isinstance(value.get("weights"), dict)
        and all(is_fraction(weight) for weight in value["weights"].values())
    )


SCORES_DIGEST = "scores_digest"
"""The key in ``category.json`` of the digest of the ``scores.csv`` beside it."""


def scores_digest(path: Path, category: str | None = None) -> str:
    """Digest the cells of a ``scores.csv``.

    Args:
        path: The file.
        category: Whose rows alone count; None takes all.

    Raises:
        OSError, ValueError, csv.Error: It cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        heading, *rows = [*csv.reader(file)] or [[]]
    return table_digest([heading, *(row for row in rows if category in (None, *row[:1]))])


def write_scores(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Write ``scores.csv``, one row per test image, scores in full precision.

    Raises:
        OutputError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row.parts)
    writer.writerow([*ScoreRow._fields[:-1], *part_columns(names)])
    for *cells, parts in rows:
        scores = part_columns({name: parts.get(name) for name in names}).values()
        writer.writerow(
            [int(cell) if isinstance(cell, bool) else guarded(cell) for cell in (*cells, *scores)]
        )
    write_text(path, text.getvalue())
