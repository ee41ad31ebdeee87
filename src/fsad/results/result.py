"""What a run yields, category by category, and its form in JSON."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from fsad.metrics import METRICS
from fsad.results import agreed

Metrics = Mapping[str, float | None]
"""Some of the five metrics by name, in [0, 1]; ``None`` where the images do not define one."""

LATER = {
    "reused",
    "metrics_within",
    "test_digest",
    "threshold",
    "prepared",
    "input",
    "undefined",
    "parts",
    "anomalies",
    "source_digest",
}
"""What results written by earlier versions do not have."""


@dataclass(frozen=True)
class CategoryResult:
    """What one category of a run yielded.

    Attributes:
        shots: File names of the target images used for adaptation.
        n_source: Source images trained on.
        n_test_good: Test images without a defect.
        n_test_defect: Test images with one.
        fused: The five metrics of the method's own score.
        source_only: The same for the source bank alone; empty if the method has none.
        target_only: The same for the target bank alone; empty if the method has none.
        part_mask: The same for the blurred part mask as a score, the control.
        bank_rows: Patch features kept, by domain.
        seconds: Wall time, by stage.
        backbone_seconds: Wall time inside the frozen backbone, over all stages.
        peak_rss_mb: Most memory the process had held by then, in MB.
        source_share: Share of the source domain in the spread of the fused score, in [0, 1].
        diagnostics: What each stage says about itself.
        notes: What a reader of the numbers must know, one sentence each.
        reused: What was not computed just now, but taken from the cache, from another run or from
            this one before it was interrupted; its seconds are those it took then.
        metrics_within: How far any of the metrics can be from the exact one; certified.
        test_digest: Of what the test images' files hold: a prepared copy of a data set has
            another than the original. Empty where it was not recorded.
        threshold: What :class:`fsad.scores.threshold.Threshold` writes; None where it was not asked
            for.
        prepared: How ``fsad data prepare`` made the images, ``{}`` for images as they came; None
            where nobody noted it.
        undefined: Why a metric is None, by metric, in all sets alike. Written only where one is.
        input: Shape and scale of the shots, by
            :class:`~fsad.data.profile.InputProfile`; None where nobody noted it.
        parts: The five metrics of each further part of the score alone, by its name. Written only
            where there are some.
        anomalies: File names of the images with a defect that were learnt from, in the order of
            the draw. Written only where there are some.
        source_digest: Of what the files of another data set hold that was learnt from. Written
            only where there is one.
    """

    shots: list[str]
    n_source: int
    n_test_good: int
    n_test_defect: int
    fused: Metrics
    source_only: Metrics
    target_only: Metrics
    part_mask: Metrics
    bank_rows: dict[str, int]
    seconds: dict[str, float]
    backbone_seconds: float
    peak_rss_mb: float
    source_share: float | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    metrics_within: float = 0.0
    test_digest: str = ""
    threshold: dict[str, Any] | None = None
    prepared: dict[str, Any] | None = None
    input: dict[str, Any] | None = None
    undefined: dict[str, str] = field(default_factory=dict)
    parts: Mapping[str, Metrics] = field(default_factory=dict)
    anomalies: list[str] = field(default_factory=list)
    source_digest: str = ""

    @property
    def sets(self) -> dict[str, Metrics]:
        """The five metrics of each scored set by name: the method's own, its parts', the control's.

        A part's set is called ``<part>_only``.
        """
        further = {f"{name}_only": metrics for name, metrics in self.parts.items()}
        return {
            "fused": self.fused,
            "source_only": self.source_only,
            "target_only": self.target_only,
            **further,
            "part_mask": self.part_mask,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the category's entry in ``result.json``: the fused metrics lie on top."""
        entry = asdict(self)
        fused = entry.pop("fused")
        numbers = ("shots", "n_source", "n_test_good", "n_test_defect")
        first = {name: entry.pop(name) for name in numbers}
        for name in ("undefined", "parts", "anomalies", "source_digest"):
            if not entry[name]:
                del entry[name]
        entry["bank_rows"] = dict.fromkeys(agreed.BANKS, 0) | entry["bank_rows"]
        entry["seconds"] = dict.fromkeys(agreed.SECONDS, 0.0) | entry["seconds"]
        plain: dict[str, Any] = as_json({**first, **fused, **entry})
        return plain

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "CategoryResult":
        """Read an entry back; keys this version does not know are left out.

        Raises:
            KeyError: A key is missing.
        """
        fused = {metric: entry[metric] for metric in METRICS}
        names = {known.name for known in fields(cls)} - {"fused"}
        names -= LATER - entry.keys()
        return cls(fused=fused, **{name: entry[name] for name in names})


@dataclass(frozen=True)
class RunResult:
    """A ``result.json`` read back; the attributes are its keys."""

    path: Path
    method: str
    seed: int
    config: dict[str, Any]
    git: str | None
    versions: dict[str, str | None]
    backbone: dict[str, Any]
    categories: dict[str, CategoryResult]
    mean: Metrics
    failed: dict[str, str]


class ScoreRow(NamedTuple):
    """One test image in ``scores.csv``; scores are distances, higher = more anomalous.

    ``parts`` are the scores that the method's own is made of, by name, a column each.
    """

    category: str
    image: str
    label: bool
    defect: str
    score: float
    parts: Mapping[str, float]


def as_json(value: Any) -> Any:
    """Return ``value`` as JSON holds it: NaN and infinity become ``None``, arrays become lists."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # tensors, arrays and their scalars
        return as_json(value.tolist())
    return value
