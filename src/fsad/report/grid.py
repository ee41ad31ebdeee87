"""Runs that differ in numbers of their method alone: each metric's mean and spread over seeds."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsad.report.metric_names import NAMES
from fsad.results.record import CategoryResult, RunResult
from fsad.results.table.rows import Cell, having, mean_of
from fsad.results.table.settings import (
    headings,
    identity,
    numbers_of,
    settings_of,
    shown,
    varied_numbers,
)

METRICS = ("image_auroc", "pixel_auroc", "pixel_auroc_part")
"""What is drawn of a grid."""
Place = tuple[float, ...]
"""A number for each axis."""


@dataclass
class Grid:
    """Runs that differ in some numbers of their method, in seed and category alone.

    Attributes:
        axes: The settings that vary, by dotted name.
        settings: What the runs have in common.
        runs: Categories' results by place, then seed.
        categories: All that any of the runs has or should have.
    """

    axes: tuple[str, ...]
    settings: Mapping[str, Any]
    runs: dict[Place, dict[int, dict[str, CategoryResult]]] = field(default_factory=dict)
    categories: set[str] = field(default_factory=set)

    @property
    def labels(self) -> dict[str, str]:
        """What an axis is called, by its dotted name: its last name, as a Greek letter if it is."""
        return {axis: symbol(name) for axis, name in headings(self.axes).items()}

    def values(self, axis: str) -> list[float]:
        """Return the numbers that the runs have on an axis, in increasing order."""
        return sorted({place[self.axes.index(axis)] for place in self.runs})

    def held(self, axis: str) -> dict[str, float] | None:
        """Choose where a curve over one axis is drawn: the numbers of the others that stay.

        Those at which most points lie; of several such the middle one in increasing order, of two
        the lower.

        Returns:
            The others' numbers, or None if the runs do not vary the axis alone anywhere.
        """
        own = self.axes.index(axis)
        points = Counter(place[:own] + place[own + 1 :] for place in self.runs)
        most = max(points.values())
        if most < 2:
            return None
        fullest = sorted(place for place, count in points.items() if count == most)
        others = (name for name in self.axes if name != axis)
        return dict(zip(others, fullest[(len(fullest) - 1) // 2], strict=True))

    def line(self, axis: str, at: Mapping[str, float]) -> list[Place]:
        """Return the places along an axis, the others at the given numbers."""
        return [
            tuple({**at, axis: value}[name] for name in self.axes) for value in self.values(axis)
        ]

    def cell(self, place: Place, metric: str) -> Cell:
        """Average a metric over seeds, each seed's number being its mean over categories.

        Categories without the metric in any run are left out. A seed that lacks one of the
        categories, or the metric in one of the others, does not count: its mean would be of another
        kind. The cell is empty where no seed is left.
        """
        have = self.having(metric)
        return Cell.over(
            mean_of(results[name].fused.get(metric) for name in have)
            for results in self.runs.get(place, {}).values()
            if results.keys() == self.categories
        )

    def having(self, metric: str) -> list[str]:
        """Name the categories in which any run has the metric."""
        return having((run for seeds in self.runs.values() for run in seeds.values()), metric)

    def drawn(self) -> dict[str, str]:
        """Return the metrics that any run has, with what people call them."""
        return {metric: NAMES[metric] for metric in METRICS if self.having(metric)}

    def without(self) -> list[str]:
        """Say which metrics are undefined where, and why, one sentence each."""
        results = (
            result
            for seeds in self.runs.values()
            for run in seeds.values()
            for result in run.items()
        )
        sentences = {
            f"{NAMES[metric]} is undefined in {name}: {reason}.": None
            for name, result in results
            for metric, reason in result.undefined.items()
            if metric in METRICS
        }
        return list(sentences)


def grids(results: Iterable[RunResult]) -> list[Grid]:
    """Sort runs into grids: by all their settings but the numbers of their method.

    Returns:
        Grids in which at least one number varies.
    """
    alike: dict[str, list[tuple[RunResult, dict[str, Any]]]] = {}
    for result in results:
        settings = settings_of(result)
        other = identity(settings | dict.fromkeys(numbers_of(settings), "a number"))
        alike.setdefault(other, []).append((result, settings))
    found = []
    for runs in alike.values():
        axes = tuple(varied_numbers(settings for _, settings in runs))
        if not axes:
            continue
        common = {name: value for name, value in runs[0][1].items() if name not in axes}
        grid = Grid(axes, common)
        for result, settings in runs:
            place = tuple(float(settings[axis]) for axis in axes)
            grid.runs.setdefault(place, {}).setdefault(result.seed, {}).update(result.categories)
            grid.categories |= result.categories.keys() | result.failed.keys()
        found.append(grid)
    return found


def names_of(several: Sequence[Grid]) -> list[str]:
    """Tell grids apart: data set, method, shots and whatever else they differ in."""
    columns = shown([grid.settings for grid in several]) if several else {}
    return [
        ", ".join(
            f"{head} {grid.settings[name]}"
            for name, head in columns.items()
            if name in grid.settings
        )
        for grid in several
    ]


def symbol(name: str) -> str:
    """Write a name as the Greek letter that it names, if it does.

    >>> symbol("gamma"), symbol("lambda"), symbol("window")
    ('γ', 'λ', 'window')
    """
    letter = name.upper().replace("LAMBDA", "LAMDA")  # as Unicode spells it
    try:
        return unicodedata.lookup(f"GREEK SMALL LETTER {letter}")
    except KeyError:
        return name
