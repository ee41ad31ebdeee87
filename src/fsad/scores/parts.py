"""The columns in which files hold the parts of a score."""

from collections.abc import Mapping
from typing import TypeVar

AGREED = ("source", "target")
"""Parts that every file has a column for, empty for a method without: scripts read them."""
PREFIX = "score_"
Value = TypeVar("Value")


def part_columns(parts: Mapping[str, Value]) -> dict[str, Value | None]:
    """Return a column for each part, those that are agreed first.

    >>> part_columns({"target": 2.5, "texture": 1.0})
    {'score_source': None, 'score_target': 2.5, 'score_texture': 1.0}
    """
    names = [*AGREED, *(name for name in parts if name not in AGREED)]
    return {PREFIX + name: parts.get(name) for name in names}


def parts_in(row: Mapping[str, object]) -> dict[str, float]:
    """Read the parts back from a row; those without a value are left out.

    >>> parts_in({"score": "3", "score_source": "", "score_target": "2.5"})
    {'target': 2.5}
    """
    cells = {key.removeprefix(PREFIX): row[key] for key in row if key.startswith(PREFIX)}
    return {name: float(str(cell)) for name, cell in cells.items() if cell not in (None, "")}
