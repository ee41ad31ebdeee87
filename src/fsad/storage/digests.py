"""Digests of a run's small files, so that a changed digit does not pass for a result."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DIGEST = "digest"
"""The key of a record's own digest; records of earlier versions have none."""


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """Add a record's digest to it.

    Args:
        record: What JSON can hold.
    """
    return {**record, DIGEST: _digest(record)}


def refuse_changed(record: Mapping[str, Any]) -> None:
    """Refuse a record whose values are not those it was written with; how it is laid out is free.

    Args:
        record: As it was read.

    Raises:
        ValueError: Some are not, or it is no record.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"{type(record).__name__} in place of named values")
    if DIGEST in record and record[DIGEST] != _digest(record):
        raise ValueError("values that were changed or damaged since it was written")


def _digest(record: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in record.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def table_digest(rows: Iterable[Sequence[str]]) -> str:
    """Digest a table's cells, row by row, the headings first."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return hashlib.sha256(text.getvalue().encode()).hexdigest()
