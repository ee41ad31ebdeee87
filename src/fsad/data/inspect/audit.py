"""Can a category be solved without looking for a defect? The image AUROC of trivial statistics."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fsad.data.depth_rules import DepthRules
from fsad.data.layout import find_format, open_reader
from fsad.data.part import part_mask
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.errors import DataError
from fsad.metrics.exact import auroc
from fsad.runtime.progress import track

SOLVED = 0.9
"""A separation from which a category counts as solved by the statistic."""
FEW = 5
"""Of either kind of images; fewer are separated by chance too often to say so."""


@dataclass(frozen=True)
class View:
    """One test image as the statistics see it.

    Attributes:
        grey: Brightness of the photograph, ``(H, W)``, in [0, 1].
        depth: Distance where the sensor saw anything, in the sensor's unit, flat.
        valid: Where it did, ``(H, W)``.
        part: Where the part is, ``(H, W)``.
    """

    grey: NDArray[np.float64]
    depth: NDArray[np.float64]
    valid: NDArray[np.bool_]
    part: NDArray[np.bool_]


OF_PHOTOGRAPHS: dict[str, Callable[[View], float]] = {
    "mean brightness": lambda view: float(view.grey.mean()),
    "standard deviation": lambda view: float(view.grey.std()),
    "background brightness": lambda view: _mean(view.grey[~view.part]),
}
"""What is measured of each photograph, by name: none of it knows what a defect is."""
OF_DEPTH: dict[str, Callable[[View], float]] = {
    "mean": lambda view: _mean(view.depth),
    "standard deviation": lambda view: float(view.depth.std()) if len(view.depth) else 0,
    "area of valid pixels": lambda view: float(view.valid.mean()),
    "area of the part": lambda view: float(view.part.mean()),
}


@dataclass(frozen=True)
class ShortcutStatistic:
    """How well one statistic tells defective from good test images.

    Attributes:
        category: The object.
        modality: ``rgb``, ``depth`` or another camera's name.
        statistic: Its name.
        auroc: Image AUROC of the statistic as a score, in [0, 1]; below 0.5, good images have more.
        images: Test images.
        defective: Those of them with a defect.
    """

    category: str
    modality: str
    statistic: str
    auroc: float
    images: int
    defective: int

    @property
    def separation(self) -> float:
        """The AUROC in the better direction, in [0.5, 1]."""
        return max(self.auroc, 1 - self.auroc)

    @property
    def solves(self) -> bool:
        """Whether the statistic alone would pass for a good method, and not by chance."""
        fewest = min(self.defective, self.images - self.defective)
        return self.separation >= SOLVED and fewest >= FEW


def audit(
    root: Path,
    layout: str = "auto",
    light: int = 4,
    rules: DepthRules | None = None,
    cameras: Sequence[str] = (),
) -> list[ShortcutStatistic]:
    """Measure the trivial statistics of every category's test images.

    Args:
        root: The folder that holds the categories.
        layout: One of :data:`~fsad.data.layout.LAYOUTS`, or ``auto`` to look.
        light: Which of Eyecandies' renderings is used as the RGB image.
        rules: How depth files are read.
        cameras: The cameras' folders; empty: those of the layout, if it has some.

    Returns:
        One entry per category and statistic.

    Raises:
        ConfigError: ``layout``, ``light`` or ``cameras`` is out of range.
        MissingDataError: There is no such folder.
        DataError: A file cannot be read, or no category has good and defective test images.
    """
    reader = open_reader(root, find_format(root, layout, cameras), rules, light, cameras)
    found: list[ShortcutStatistic] = []
    for category in reader.categories():
        samples = reader.samples(category, "test")
        found += audit_samples(reader, category, samples)
    if not found:
        raise DataError(
            f"{root}: expected good and defective test images, got one kind alone. "
            "Put defective ones into test/KIND/, good ones into test/good/."
        )
    return found


def audit_samples(
    reader: DatasetReader, category: str, samples: list[Sample]
) -> list[ShortcutStatistic]:
    """Measure the statistics of some test images; nothing where they are all of one kind."""
    labels = torch.tensor([sample.is_anomalous for sample in samples])
    if not samples or bool(labels.all()) or not bool(labels.any()):
        return []
    modalities = list(samples[0].files)
    names = [(modality, name) for modality in modalities for name in _measured(modality)]
    rows = [  # of numbers: the images themselves are not kept
        [
            statistic(view)
            for modality, view in _views(reader, sample, modalities)
            for statistic in _measured(modality).values()
        ]
        for sample in track(samples, category, len(samples))
    ]
    return [
        ShortcutStatistic(category, *name, auroc(column, labels), len(labels), int(labels.sum()))
        for name, column in zip(names, torch.tensor(rows).T, strict=True)
    ]


def _measured(modality: str) -> dict[str, Callable[[View], float]]:
    return OF_DEPTH if modality == "depth" else OF_PHOTOGRAPHS


def _views(
    reader: DatasetReader, sample: Sample, modalities: Sequence[str]
) -> Iterator[tuple[str, View]]:
    """Yield the sample as each modality shows it, the part being where depth shows it."""
    part = reader.read_part(sample)
    z = reader.read(sample, "depth") if "depth" in modalities else None
    if part is None and z is not None:
        part = part_mask(z)
    for modality in modalities:
        if modality == "depth" and z is not None and part is not None:
            seen = np.isfinite(z)
            yield modality, View(np.empty((0, 0)), z[seen].astype(np.float64), seen, part)
            continue
        grey = reader.read(sample, modality).mean(axis=2) / 255
        whole = np.ones(grey.shape, dtype=np.bool_)  # without depth nothing says where the part is
        yield modality, View(grey, np.empty(0), whole, whole if part is None else part)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0
