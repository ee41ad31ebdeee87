"""Everything that is there, missing or wrong in a dataset, in one go."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from fsad.data import eyecandies, mvtec3d
from fsad.data.eyecandies import Eyecandies
from fsad.data.folders import Folder, eyecandies_folders, mvtec3d_folders
from fsad.data.layout import EXPECTED, LAID_OUT, find_format
from fsad.data.listing import find_categories
from fsad.data.mvtec3d import MVTec3D
from fsad.data.pairs import PairReader, Sample, Split
from fsad.errors import DataError
from fsad.progress import track

NAMED = 5  # stems a message lists before it says how many more there are
WILD = 0.3  # difference in the share of valid depth from which a folder is another kind of image


@dataclass
class Row:
    """What was counted in one folder.

    Attributes:
        folder: The folder.
        sizes: Height and width of its RGB images.
        valid: Share of valid depth pixels, one for each image that could be read.
    """

    folder: Folder
    sizes: set[tuple[int, int]] = field(default_factory=set)
    valid: list[float] = field(default_factory=list)

    @property
    def mean_valid(self) -> float | None:
        """Mean share of valid depth, in [0, 1]; None if no depth could be read."""
        return float(np.mean(self.valid)) if self.valid else None


@dataclass
class Report:
    """What was found in a dataset.

    Attributes:
        root: The folder that holds the categories.
        layout: ``mvtec3d`` or ``eyecandies``.
        rows: One per category, split and defect.
        problems: All that is missing or wrong, one line each.
    """

    root: Path
    layout: str
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check(root: Path, layout: str = "auto", light: int = 4) -> Report:
    """Look at every file of a dataset.

    Args:
        root: The folder that holds the categories.
        layout: ``mvtec3d`` (raw or prepared), ``eyecandies``, or ``auto`` to look.
        light: Which of Eyecandies' renderings is used as the RGB image.

    Returns:
        The report; its ``problems`` are empty if a run can use the data.

    Raises:
        ConfigError: ``layout`` or ``light`` is out of range.
        MissingDataError: There is no such folder.
        DataError: The folder has no known layout or no category.
    """
    report = Report(root, find_format(root, layout))
    is_mvtec3d = report.layout == "mvtec3d"
    reader: PairReader = MVTec3D(root) if is_mvtec3d else Eyecandies(root, light)
    if is_mvtec3d:
        categories = find_categories(root, get_args(Split), mvtec3d.MARK)
    else:
        categories = find_categories(root, eyecandies.FOLDERS.values(), eyecandies.MARK)
    if not categories:
        raise DataError(f"{root}: expected {EXPECTED}, got no category. {LAID_OUT}")
    for category in categories:
        if is_mvtec3d:
            folders = list(mvtec3d_folders(root, category))
        else:
            folders = list(eyecandies_folders(root, category, light, report.problems))
        _check_category(category, folders, reader, report)
    return report


def _check_category(
    category: str, folders: list[Folder], reader: PairReader, report: Report
) -> None:
    report.problems += _missing_kinds(category, folders)
    rows = [Row(folder) for folder in folders]
    for row in rows:
        folder = row.folder
        report.problems += _missing_files(folder)
        for stem in track(folder.stems, folder.place, len(folder.stems)):
            report.problems += _problems_of(stem, row, reader)
    report.problems += _unlike_training(rows)
    report.rows += rows


def _missing_kinds(category: str, folders: list[Folder]) -> list[str]:
    """Tell what a run would lack altogether: training images, or one side of the test."""
    there = {(folder.split, folder.defect) for folder in folders if folder.stems}
    problems = []
    if ("train", "good") not in there:
        problems.append(f"{category}/train: expected good images, got none")
    if ("test", "good") not in there:
        problems.append(f"{category}/test: expected good images, got none")
    if not any(split == "test" and defect != "good" for split, defect in there):
        problems.append(f"{category}/test: expected images with defects, got none")
    return problems


def _missing_files(folder: Folder) -> list[str]:
    problems = []
    for kind in folder.needed:
        stems, missing = folder.stems, folder.missing(kind)
        if missing:
            named = ", ".join(missing[:NAMED])
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            problems.append(
                f"{folder.place}: expected {folder.patterns[kind]} for every image, "
                f"got {len(stems) - len(missing)} of {len(stems)} (none for {named}{more})"
            )
    return problems


def _problems_of(stem: str, row: Row, reader: PairReader) -> list[str]:
    """Open a stem's files, count them in ``row`` and tell what is wrong with them."""
    folder, problems = row.folder, []
    sample = folder.sample(stem)
    reads: dict[str, Callable[[Sample], NDArray[Any] | None]] = {
        "rgb": reader.read_rgb,
        "depth": reader.read_depth,
        "gt": reader.read_mask,
        "part": reader.read_part,
    }
    images: dict[str, NDArray[Any]] = {}
    for kind, read in reads.items():
        try:
            image = read(sample) if folder.can_read(kind, stem) else None
        except DataError as error:
            problems.append(str(error))
            continue
        if image is not None:
            images[kind] = image

    if "rgb" in images:
        row.sizes.add(images["rgb"].shape[:2])
    if "depth" in images:
        row.valid.append(float((images["depth"] > 0).mean()))
    return problems + _unequal_sizes(images, folder, stem) + _wrong_masks(images, folder, stem)


def _unequal_sizes(images: dict[str, NDArray[Any]], folder: Folder, stem: str) -> list[str]:
    sizes = {kind: image.shape[:2] for kind, image in images.items()}
    if len(set(sizes.values())) < 2:
        return []
    listed = ", ".join(f"{kind} {size}" for kind, size in sizes.items())
    return [f"{folder.place}/{stem}: expected images of one size, got {listed}"]


def _wrong_masks(images: dict[str, NDArray[Any]], folder: Folder, stem: str) -> list[str]:
    problems, place = [], f"{folder.place}/{stem}"
    marked = "gt" in images and images["gt"].any()
    if marked and folder.defect == "good":
        problems.append(f"{place}: expected an empty mask for a good image, got marked pixels")
    if "gt" in images and not marked and folder.defect not in ("good", "unknown"):
        problems.append(f"{place}: expected a mask with the defect marked, got an empty one")
    if "part" in images and not images["part"].any():
        problems.append(f"{place}: expected a mask with the part marked, got an empty one")
    return problems


def _unlike_training(rows: list[Row]) -> list[str]:
    """Tell which folders' share of valid depth says that they are another kind of image."""
    shares = {row.folder.place: row.mean_valid for row in rows if row.mean_valid is not None}
    training = next((place for place in shares if place.endswith("/train/good")), None)
    if training is None:
        return []
    return [
        f"{place}: expected about the share of valid depth of the training images, "
        f"{shares[training]:.0%}, got {share:.0%}"
        for place, share in shares.items()
        if abs(share - shares[training]) > WILD
    ]
