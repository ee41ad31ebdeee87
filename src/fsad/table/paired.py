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
from fsad.report import RunResult
from fsad.table.collect import Runs
from fsad.table.settings import Settings, identity, settings_of

Cell = tuple[str, int]
"""A category and a seed: one draw of its shots."""
SAME = ("dataset", "shots")
"""What two methods must have in common to be compared, with all settings of the data."""


@dataclass(frozen=True)
class Difference:
    """A method less the reference, where both have a result.

    Attributes:
        labels: Data set, shots, method and backbone of the method.
        metric: One of the five.
        mean: Mean over categories of the mean over draws; above 0 the method is better.
        low: Lower end of the 95 % interval.
        high: Its upper end.
        cells: Pairs of category and draw.
        images: Test images, each counted once.
        over_images: Whether the interval contains the choice of test images; only the image AUROC
            is stored image by image.
    """

    labels: dict[str, str]
    metric: str
    mean: float
    low: float
    high: float
    cells: int
    images: int
    over_images: bool

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0 <= self.high


def differences(runs: Runs, reference: str) -> list[Difference]:
    """Compare every method with a reference on the same shots and test images.

    Args:
        runs: What :func:`fsad.table.collect` found.
        reference: A method's name; of several runs of it, that with the same backbone as the
            method compared is taken, else the only one.

    Raises:
        ConfigError: No run is of that method, or it cannot be told which of several is meant.
        DataError: A run's ``scores.csv`` cannot be read.
    """
    groups: dict[str, tuple[Settings, dict[Cell, RunResult]]] = {}
    for result in runs.results:
        settings: Settings = settings_of(result)
        _, cells = groups.setdefault(identity(settings), (settings, {}))
        cells.update({(name, result.seed): result for name in result.categories})
    known = sorted({settings["method"] for settings, _ in groups.values()})
    if reference not in known:
        raise ConfigError(f"reference: expected one of {', '.join(known)}, got {reference!r}")
    found = []
    for settings, cells in groups.values():
        others = [
            (theirs, of_theirs)
            for theirs, of_theirs in groups.values()
            if theirs["method"] == reference and _data(theirs) == _data(settings)
        ]
        if not others or settings["method"] == reference:
            continue
        found += _compare(settings, cells, _closest(settings, others))
    return found


def _data(settings: Settings) -> dict[str, object]:
    return {
        name: value for name, value in settings.items() if name in SAME or name.startswith("data.")
    }


def _closest(
    settings: Settings, others: Sequence[tuple[Settings, dict[Cell, RunResult]]]
) -> dict[Cell, RunResult]:
    same = [cells for theirs, cells in others if theirs["backbone"] == settings["backbone"]]
    candidates = same or [cells for _, cells in others]
    if len(candidates) > 1:
        raise ConfigError(
            f"reference: expected one run of it beside {settings['method']} at "
            f"{settings['shots']} shots, got {len(candidates)} with different settings. "
            "Give only the folders that are to be compared."
        )
    return candidates[0]


def _compare(
    settings: Settings, ours: Mapping[Cell, RunResult], theirs: Mapping[Cell, RunResult]
) -> list[Difference]:
    cells = sorted(ours.keys() & theirs.keys())
    labels = {name: str(settings[name]) for name in ("dataset", "shots", "method", "backbone")}
    found = []
    for metric in METRICS:
        apart: dict[str, list[NDArray[np.float64]]] = {}
        for cell in cells:
            values = [it[cell].categories[cell[0]].fused.get(metric) for it in (ours, theirs)]
            if any(value is None for value in values):
                continue
            if metric == "image_auroc":
                mine, other = (it[cell].path.with_name("scores.csv") for it in (ours, theirs))
                difference = np.subtract(*_rankings(mine, other, cell[0]))
            else:
                difference = np.array([[values[0] - values[1]]])  # type: ignore[operator]
            apart.setdefault(cell[0], []).append(difference)
        if apart:
            low, high = interval(apart)
            found.append(
                Difference(
                    labels,
                    metric,
                    float(np.mean([np.mean(each) for each in apart.values()])),
                    low,
                    high,
                    sum(len(each) for each in apart.values()),
                    sum(_images(ours, cells, name) for name in apart),
                    over_images=metric == "image_auroc",
                )
            )
    return found


def _images(runs: Mapping[Cell, RunResult], cells: Sequence[Cell], name: str) -> int:
    cell = next(cell for cell in cells if cell[0] == name)
    result = runs[cell].categories[name]
    return result.n_test_good + result.n_test_defect


def _rankings(ours: Path, theirs: Path, category: str) -> list[NDArray[np.float64]]:
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
        with path.open(encoding="utf-8") as file:
            return {
                (row["image"], bool(int(row["label"]))): float(row["score"])
                for row in csv.DictReader(file)
                if row["category"] == category
            }
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: expected the scores of a run, got a file that cannot be read. "
            "Run again to replace it."
        ) from error
