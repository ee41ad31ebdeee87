"""Paired differences between methods, and whether chance alone would explain them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsad.errors import ConfigError, DataError
from fsad.metrics import METRICS
from fsad.metrics.bootstrap import interval, ranking
from fsad.results.record import RunResult
from fsad.results.table.collect import Runs
from fsad.results.table.settings import Settings, identity, settings_of, shown
from fsad.storage.csv_cells import plain
from fsad.storage.regular import refuse_irregular

Cell = tuple[str, int]
"""A category and a seed: one draw of its shots."""
SAME = ("dataset", "shots")
"""What two methods must have in common to be compared, with all settings of the data."""


@dataclass(frozen=True)
class Difference:
    """A method less the reference, where both have a result.

    Attributes:
        experiment: What tells this run's settings from all others'.
        labels: What a line of the table says of them, by column heading.
        metric: One of the five.
        mean: Mean over categories of the mean over draws; above 0 the method is better.
        interval: The 95 % interval; None where a category has one draw alone.
        cells: Pairs of category and draw.
        images: Test images, each counted once.
    """

    experiment: str
    labels: dict[str, str]
    metric: str
    mean: float
    interval: tuple[float, float] | None
    cells: int
    images: int

    @property
    def is_clear(self) -> bool:
        """Whether there is an interval, and it leaves out 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True)
class Comparison:
    """All methods less one.

    Attributes:
        reference: Its name.
        differences: By experiment and metric.
        left_out: What could not be compared and why, one sentence each, without its full stop.
    """

    reference: str
    differences: list[Difference]
    left_out: list[str]


@dataclass(frozen=True)
class _Group:
    settings: Settings
    cells: dict[Cell, RunResult]

    @property
    def name(self) -> str:
        return f"{self.settings['method']} at {self.settings['shots']} shots"


def compare(runs: Runs, reference: str) -> Comparison:
    """Compare every method with a reference on the same shots and test images.

    A method that learns from labelled anomalies is compared with one that does without them, of the
    same draw and with the same normal images.

    Args:
        runs: What :func:`fsad.results.table.collect` found.
        reference: A method's name; of several runs of it, that with the same backbone as the
            method compared is taken, else the only one.

    Raises:
        ConfigError: No run is of that method.
        DataError: A run's ``scores.csv`` cannot be read, or two runs that are to be compared had
            other shots or other test images.

    Examples:
        >>> from pathlib import Path
        >>> import fsad
        >>> comparison = fsad.compare(fsad.collect([Path("outputs")]), reference="patchcore")
        >>> {each.labels["method"] for each in comparison.differences}
        {'hypertrans'}
    """
    groups: dict[str, _Group] = {}
    for result in runs.results:
        settings: Settings = settings_of(result)
        group = groups.setdefault(identity(settings), _Group(settings, {}))
        group.cells.update({(name, result.seed): result for name in result.categories})
    known = sorted({str(group.settings["method"]) for group in groups.values()})
    if reference not in known:
        methods = ", ".join(known) or "a method with a result (there is none)"
        raise ConfigError(f"reference: expected one of {methods}, got {reference!r}")
    headings = shown([group.settings for group in groups.values()])
    found: list[Difference] = []
    left_out: list[str] = []
    for experiment, group in groups.items():
        if group.settings["method"] == reference:
            continue
        others = [
            other
            for other in groups.values()
            if other.settings["method"] == reference
            and _data(other.settings) == _data(group.settings)
            and other.cells.keys() & group.cells.keys()
        ]
        same = [it for it in others if it.settings["backbone"] == group.settings["backbone"]]
        others = same or others
        if len(others) == 1:
            labels = {head: str(group.settings.get(name)) for name, head in headings.items()}
            found += _differences(experiment, labels, group.cells, others[0].cells)
            left_out += _undefined(group.name, group.cells, others[0].cells)
        else:
            why = (
                f"{len(others)} runs of {reference} fit, with different settings; give only the "
                "folders that are to be compared"
                if others
                else f"no run of {reference} has its data, shots and seeds"
            )
            left_out.append(f"{group.name}: not compared, {why}")
    return Comparison(reference, found, left_out)


def _data(settings: Settings) -> dict[str, object]:
    # What a method had besides is no matter: source images, or labelled anomalies. The test is the
    # same.
    own = {"protocol.source_modality", "protocol.labels"}
    return {
        name: value
        for name, value in settings.items()
        if name in SAME or (name.startswith(("data.", "protocol.")) and name not in own)
    }


def _differences(
    experiment: str,
    labels: dict[str, str],
    ours: Mapping[Cell, RunResult],
    theirs: Mapping[Cell, RunResult],
) -> list[Difference]:
    cells = sorted(ours.keys() & theirs.keys())
    for name, seed in cells:
        mine, other = (runs[name, seed].categories[name].shots for runs in (ours, theirs))
        # Without shots of its own, a method learns from normal images and anomalies: of this draw.
        if mine and other and mine != other:
            raise DataError(
                f"{ours[name, seed].path}: expected the shots of {theirs[name, seed].path} for "
                f"{name}, got others. Compare runs of one dataset and one data.seed."
            )
        files = {runs[name, seed].categories[name].test_digest for runs in (ours, theirs)} - {""}
        if len(files) > 1:
            raise DataError(
                f"{ours[name, seed].path}: expected the test images of {theirs[name, seed].path} "
                f"for {name}, got files of other content. Do not mix a data set with its prepared "
                "copy."
            )
    found = []
    for metric in METRICS:
        apart: dict[str, list[NDArray[np.float64]]] = {}
        for cell in cells:
            difference = _difference(metric, cell[0], ours[cell], theirs[cell])
            if difference is not None:
                apart.setdefault(cell[0], []).append(difference)
        if apart:
            found.append(
                Difference(
                    experiment,
                    labels,
                    metric,
                    float(np.mean([np.mean(each) for each in apart.values()])),
                    interval(apart),
                    sum(len(each) for each in apart.values()),
                    sum(_images(ours, cells, name) for name in apart),
                )
            )
    return found


def _undefined(
    name: str, ours: Mapping[Cell, RunResult], theirs: Mapping[Cell, RunResult]
) -> list[str]:
    """Say which metrics are not compared in a category, as a run has none, and why."""
    lacking: dict[tuple[str, str], dict[str, None]] = {}  # metrics by category and reason, in order
    cells = sorted(ours.keys() & theirs.keys())
    for metric in METRICS:
        for cell in cells:
            for runs in (ours, theirs):
                result = runs[cell].categories[cell[0]]
                if result.fused.get(metric) is None:
                    reason = result.undefined.get(metric, "it is undefined in a run")
                    lacking.setdefault((cell[0], reason), {})[metric] = None
    count = len({category for category, _ in cells})
    of = f" (1 of {count} categories)" if count > 1 else ""
    return [
        f"{name}: {', '.join(metrics)} not compared in {category}{of}: {reason}"
        for (category, reason), metrics in lacking.items()
    ]


def _difference(
    metric: str, category: str, ours: RunResult, theirs: RunResult
) -> NDArray[np.float64] | None:
    """Return how much better one run is, image by image where that is known."""
    mine, other = (run.categories[category].fused.get(metric) for run in (ours, theirs))
    if mine is None or other is None:
        return None
    if metric != "image_auroc":
        return np.array([[mine - other]])
    files = (run.path.with_name("scores.csv") for run in (ours, theirs))
    return np.asarray(np.subtract(*_rankings(*files, category=category)))


def _images(runs: Mapping[Cell, RunResult], cells: Sequence[Cell], name: str) -> int:
    cell = next(cell for cell in cells if cell[0] == name)
    result = runs[cell].categories[name]
    return result.n_test_good + result.n_test_defect


def _rankings(ours: Path, theirs: Path, *, category: str) -> list[NDArray[np.float64]]:
    """Rank the test images of both, in the same order."""
    read = [_scores(path, category) for path in (ours, theirs)]
    if read[0].keys() != read[1].keys():
        raise DataError(f"{ours}: expected the test images of {theirs}, got others for {category}")
    rankings = []
    for scores in read:
        good, anomalous = (
            np.array([score for (_, label), score in sorted(scores.items()) if label == wanted])
            for wanted in (False, True)
        )
        rankings.append(ranking(good, anomalous))
    return rankings


def _scores(path: Path, category: str) -> dict[tuple[str, bool], float]:
    try:
        refuse_irregular(path)
        with path.open(encoding="utf-8", newline="") as file:
            return {
                (plain(row["image"]), bool(int(row["label"]))): float(row["score"])
                for row in csv.DictReader(file)
                if plain(row["category"]) == category
            }
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: expected the scores of a run, got a file that cannot be read. "
            "Run again to replace it."
        ) from error
