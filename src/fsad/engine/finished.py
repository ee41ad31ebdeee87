"""What a finished category leaves, and whether it is all there."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fsad.errors import DataError, message_of
from fsad.results.feature_samples import EMBEDDINGS
from fsad.results.record import (
    CATEGORY,
    SCORES_DIGEST,
    CategoryResult,
    read_category,
    scores_digest,
)
from fsad.scores.threshold import THRESHOLD, read_threshold
from fsad.storage.digests import refuse_changed
from fsad.storage.regular import refuse_irregular


@dataclass(frozen=True)
class FinishedCategory:
    """The files of a category that an earlier process finished.

    Attributes:
        folder: The category's folder.
        maps: Where its pictures were to go; None where none were asked for.
        threshold: Whether a threshold is asked for.
        samples: Whether features for figures are asked for.
    """

    folder: Path
    maps: Path | None
    threshold: bool
    samples: bool

    @property
    def record(self) -> Path:
        """The file that says the category is done."""
        return self.folder / CATEGORY

    def result(self) -> CategoryResult:
        """Read back what an earlier process finished."""
        try:
            refuse_irregular(self.record)
            stored = json.loads(self.record.read_text(encoding="utf-8"))
            refuse_changed(stored)
            return CategoryResult.from_json(stored)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{self.record}: expected a finished category's result, got a file that cannot be "
                f"read ({message_of(error)}). Delete it to have the category tested again."
            ) from error

    def lacking(self, result: CategoryResult, shows_something: Callable[[], bool]) -> str:
        """Name what was asked for and is not there; empty if all is.

        Args:
            result: What the record says.
            shows_something: Tells whether the method has features to show.
        """
        if self.threshold and result.threshold is None:
            return "threshold"  # of an earlier version, killed while it was set
        for name, is_whole in (("scores.csv", self._has_scores), (THRESHOLD, self._has_threshold)):
            if name == THRESHOLD and not self.threshold:
                continue
            if not (self.folder / name).is_file():
                return name
            if not is_whole():
                return f"{name} as it was written"
        tested = result.n_test_good + result.n_test_defect
        if self.maps and tested and not any(self.maps.glob("*.png")):
            return f"picture in {self.maps}"
        samples = self.folder / f"{EMBEDDINGS}.safetensors"
        if self.samples and not samples.is_file() and shows_something():
            return samples.name
        return ""

    def _has_scores(self) -> bool:
        """Tell whether ``scores.csv`` is as the record has it, if it says."""
        written = read_category(self.folder).get(SCORES_DIGEST)
        try:
            return written is None or scores_digest(self.folder / "scores.csv") == written
        except (OSError, ValueError, csv.Error):
            return False

    def _has_threshold(self) -> bool:
        """Tell whether ``threshold.json`` can be believed."""
        try:
            read_threshold(self.folder / THRESHOLD)
        except DataError:
            return False
        return True
