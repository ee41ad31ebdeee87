"""Runs grouped by experiment, one row per category and score, averaged over seeds."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fsad.metrics import METRICS
from fsad.results.record import CategoryResult, Metrics, RunResult
from fsad.results.table.collect import Runs
from fsad.results.table.paper import Printed, beside, is_about
from fsad.results.table.settings import Settings, identity, settings_of, shown

CONTROL = "part_mask"
LEGEND = (
    "Mean ± sample standard deviation over n seeds. "
    "The part mask is the control without a model: its map is the blurred shape of the part, so "
    "its image_auroc is about 0.5 by construction."
)
PARTIAL = "(1 of 2): a mean over 1 of 2 categories; in the others the metric is undefined."


@dataclass(frozen=True)
class Cell:
    """One metric over the seeds that have it.

    Attributes:
        mean: Mean, or ``None`` if no seed has it.
        std: Sample standard deviation (one degree of freedom lost), or ``None`` below two seeds.
        n: Seeds that have it.
    """

    mean: float | None
    std: float | None
    n: int

    @classmethod
    def over(cls, numbers: Iterable[float | None]) -> "Cell":
        """Summarise one number per seed, leaving out those that are undefined."""
        known = [number for number in numbers if number is not None]
        return cls(
            mean=statistics.fmean(known) if known else None,
            std=statistics.stdev(known) if len(known) > 1 else None,
            n=len(known),
        )


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        labels: What the line is about, by column heading.
        n: Seeds that have a result.
        expected: Seeds that the table's other lines have.
        cells: By metric; empty if the result is missing.
        partial: By metric, "1 of 2" where a mean is over so many of the categories alone.
        reasons: By metric, why it is undefined in the category.
        printed: The paper's numbers for the same category, by method; empty where its table is
            not about the row's data, protocol and shots.
    """

    labels: dict[str, str]
    n: int
    expected: int
    cells: dict[str, Cell]
    partial: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    printed: dict[str, Printed] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Rows under common headings, and what a reader must know about them.

    Attributes:
        headings: Of the labels.
        rows: The lines.
        notes: One sentence each.
        printed: What the paper printed for the same data set, protocol, shots and categories.
    """

    headings: list[str]
    rows: list[Row]
    notes: list[str]
    printed: list[Printed]


def having(
    seeds: Iterable[Mapping[str, CategoryResult]], metric: str, score: str = "fused"
) -> list[str]:
    """Name the categories in which any seed has a number; in the others it is undefined."""
    found = {
        name: None
        for results in seeds
        for name, result in results.items()
        if result.sets.get(score, {}).get(metric) is not None
    }
    return list(found)


def mean_of(numbers: Iterable[float | None]) -> float | None:
    """Average numbers; None where there is none, or one is undefined: the mean is of another kind.

    Args:
        numbers: Of the categories that have the metric.
    """
    given = list(numbers)
    known = [number for number in given if number is not None]
    return statistics.fmean(known) if known and len(known) == len(given) else None


@dataclass
class _Group:
    """The runs of one experiment: by seed, then by category."""

    settings: Settings
    seeds: dict[int, dict[str, CategoryResult]] = field(default_factory=dict)
    categories: set[str] = field(default_factory=set)

    def add(self, result: RunResult) -> list[str]:
        """Take in a run; return a note for each category that another run already had."""
        kept = self.seeds.setdefault(result.seed, {})
        again = sorted(kept.keys() & result.categories.keys())
        kept.update(result.categories)
        self.categories |= result.categories.keys() | result.failed.keys()
        return [
            f"{name}: seed {result.seed} was found twice, the last is {result.path}"
            for name in again
        ]

    def numbers(self, category: str, score: str) -> list[Metrics]:
        """Return one set of metrics per seed that has the category."""
        return [
            results[category].sets.get(score, {})
            for results in self.seeds.values()
            if category in results
        ]

    def scores(self) -> list[str]:
        """Name the scored sets, the control last."""
        sets = (result.sets for results in self.seeds.values() for result in results.values())
        names = dict.fromkeys(name for each in sets for name in each)
        return [*(name for name in names if name != CONTROL), CONTROL]

    def whole(self) -> list[dict[str, CategoryResult]]:
        """Return what the seeds have that have all categories."""
        return [results for results in self.seeds.values() if results.keys() == self.categories]

    def means(self, score: str) -> list[Metrics]:
        """Return one mean per seed that has all categories, over those that have the metric."""
        seeds = self.whole()
        sets = [result.sets.get(score, {}) for results in seeds for result in results.values()]
        metrics = [metric for metric in METRICS if any(metric in each for each in sets)]
        have = {metric: having(seeds, metric, score) for metric in metrics}
        return [
            {
                metric: mean_of(
                    results[name].sets.get(score, {}).get(metric) for name in have[metric]
                )
                for metric in metrics
            }
            for results in seeds
        ]

    def reasons(self, category: str) -> dict[str, str]:
        """Return why metrics are undefined in a category, by metric."""
        results = [each[category] for each in self.seeds.values() if category in each]
        return {metric: why for result in results for metric, why in result.undefined.items()}

    def partial(self) -> dict[str, str]:
        """Say of each metric over how many categories its mean is, where not over all or none."""
        seeds, count = self.whole(), len(self.categories)
        have = {metric: len(having(seeds, metric)) for metric in METRICS}
        return {metric: f"{few} of {count}" for metric, few in have.items() if 0 < few < count}


def _order(settings: Settings, names: Iterable[str]) -> list[tuple[bool, float, str]]:
    """Sort numbers as numbers and the rest as text."""
    values = [settings.get(name) for name in names]
    return [
        (False, float(value), "") if isinstance(value, int | float) else (True, 0.0, str(value))
        for value in values
    ]


def _short(revision: str | None) -> str:
    """Return a revision with its hashes cut to ten characters; what is behind a dash stays."""
    return "unknown" if revision is None else "-".join(p[:10] for p in revision.split("-"))


def _text(value: Any) -> str:
    return "–" if value is None else str(value)


def _rows_of(group: _Group, headings: Mapping[str, str], expected: int) -> list[Row]:
    """Build the lines of one experiment: each category, then their mean if there are several."""
    common = {head: _text(group.settings.get(name)) for name, head in headings.items()}
    printed = beside(group.settings, group.categories)
    rows = []

    def add(category: str, score: str, sets: list[Metrics]) -> None:
        labels = {**common, "category": category, "score": score}
        cells = {metric: Cell.over(each.get(metric) for each in sets) for metric in METRICS}
        partial = group.partial() if category == "mean" else {}
        why = group.reasons(category)
        papers = {each.method: each for each in printed if each.category == category}
        rows.append(Row(labels, len(sets), expected, cells if sets else {}, partial, why, papers))

    categories = sorted(group.categories)
    for category in [*categories, "mean"] if len(categories) > 1 else categories:
        by_score = {
            score: group.means(score) if category == "mean" else group.numbers(category, score)
            for score in group.scores()
        }
        if not by_score[CONTROL]:
            add(category, "all", [])
            continue
        for score, sets in by_score.items():
            # With one part, its score is the method's.
            twice = score != "fused" and sets == by_score["fused"]
            if score == CONTROL or (any(sets) and not twice):
                add(category, score.replace("_", " "), sets)
    return rows


def _printed(groups: Iterable[_Group]) -> list[Printed]:
    """Return the numbers of the paper's Table 1 that belong beside some of ours."""
    kinds: dict[str, tuple[Settings, set[str]]] = {}
    for group in groups:
        if is_about(group.settings):
            _, names = kinds.setdefault(str(group.settings["shots"]), (group.settings, set()))
            names |= group.categories
    return [each for _, kind in sorted(kinds.items()) for each in beside(*kind)]


def _undefined(result: RunResult) -> list[str]:
    """Say why numbers of a run are –, once for all metrics with the same reason."""
    lines = []
    for name, category in result.categories.items():
        by_reason: dict[str, list[str]] = {}
        for metric, reason in category.undefined.items():
            by_reason.setdefault(reason, []).append(metric)
        for reason, metrics in by_reason.items():
            verb = "is" if len(metrics) == 1 else "are"
            lines.append(f"{name}: {', '.join(metrics)} {verb} –: {reason}")
    return lines


def table(runs: Runs) -> Table:
    """Average runs over their seeds.

    Runs that differ in any setting but the seed are never averaged. The mean over categories uses
    only seeds that have every category, so that its numbers are of one kind; where a metric is
    undefined in a category for all seeds, the mean is over the others, and says how many they are.

    Args:
        runs: What :func:`fsad.results.table.collect` found.

    Returns:
        One row per experiment, category and score; runs without a result come last.
    """
    groups: dict[str, _Group] = {}
    notes = [LEGEND]
    for result in runs.results:
        settings = settings_of(result)
        group = groups.setdefault(identity(settings), _Group(settings))
        notes += group.add(result)
        notes += [
            f"{name}: missing for seed {result.seed} ({result.path.parent}): {why}"
            for name, why in result.failed.items()
        ]
        notes += _undefined(result)
    revisions = sorted({_short(result.git) for result in runs.results})
    if len(revisions) > 1:
        notes.append(f"The runs come from different revisions of the code: {', '.join(revisions)}")
    headings = shown([group.settings for group in groups.values()])
    expected = len({result.seed for result in runs.results})
    rows = []
    for group in sorted(groups.values(), key=lambda group: _order(group.settings, headings)):
        rows += _rows_of(group, headings, expected)
    columns = [*headings.values()]
    columns.insert(1, "category")
    columns.append("score")
    for name in runs.missing:
        labels = dict.fromkeys(columns, "") | {"dataset": f"missing: {name}"}
        rows.append(Row(labels, 0, 1, {}))
    notes += [PARTIAL] if any(row.partial for row in rows) else []
    notes += [f"Not read: {problem}" for problem in runs.problems]
    notes = list(dict.fromkeys(notes))  # seeds share a reason
    return Table(columns, rows, notes, _printed(groups.values()))
