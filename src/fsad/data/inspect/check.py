"""Everything that is there, missing or wrong in a dataset, in one go."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fsad.data.canvas import RESIZES, Canvas
from fsad.data.depth_rules import DepthRules
from fsad.data.folder import Folder
from fsad.data.images import photograph_size
from fsad.data.inspect.faults import Row, faults_of, in_lines, listed
from fsad.data.inspect.unread import unread_lines
from fsad.data.layout import EXPECTED, LAID_OUT, find_format, open_reader
from fsad.data.reader import DatasetReader
from fsad.errors import (
    ConfigError,
    DataError,
    MissingDataError,
    check_at_least,
    check_choice,
    message_of,
)
from fsad.runtime.progress import track

WILD = 0.3  # difference in the share of valid depth from which a folder is another kind of image


@dataclass
class Report:
    """What was found in a dataset.

    Attributes:
        root: The folder that holds the categories.
        layout: One of :data:`~fsad.data.layout.LAYOUTS`.
        rows: One per category, split and defect.
        problems: All that is wrong or that stops a run, one line each.
        notes: What a run takes, but a reader of its numbers must know, one line each.
    """

    root: Path
    layout: str
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(
    root: Path,
    layout: str = "auto",
    light: int = 4,
    rules: DepthRules | None = None,
    image_size: int = 224,
    cameras: Sequence[str] = (),
    resize: str = "square",
) -> Report:
    """Look at every file of a dataset, and tell what a run would meet.

    Args:
        root: The folder that holds the categories.
        layout: One of :data:`~fsad.data.layout.LAYOUTS`, or ``auto`` to look.
        light: Which of Eyecandies' renderings is used as the RGB image.
        rules: How a run is told to read depth files.
        image_size: The run's images, pixels: a defect smaller than one of them is named.
        cameras: The cameras' folders; empty: those of the layout, if it has some.
        resize: How the run makes its images that large, ``square`` or ``keep``.

    Returns:
        The report; its ``problems`` are empty if a run can use the data.

    Raises:
        ConfigError: An argument is out of range.
        MissingDataError: There is no such folder.
        DataError: The folder has no known layout or no category.
    """
    check_at_least("--image-size", image_size, 1)
    check_choice("--resize", resize, RESIZES)
    report = Report(root, find_format(root, layout, cameras))
    reader = open_reader(root, report.layout, rules, light, cameras)
    if resize == "keep" and "depth" in reader.modalities:
        raise ConfigError(
            "--resize: expected square with a data set of depth, got keep. Leave it out, or check "
            "a data set of photographs alone."
        )
    categories = reader.found()
    if not categories:
        raise DataError(f"{root}: expected {EXPECTED}, got no category. {LAID_OUT}")
    for category in categories:
        folders = list(reader.folders(category, report.problems))
        canvas = Canvas.square(image_size)
        if resize == "keep":
            canvas = _kept_shape(category, folders, reader, report, image_size)
        _check_category(category, folders, reader, report, canvas)
    return report


def _kept_shape(
    category: str, folders: list[Folder], reader: DatasetReader, report: Report, image_size: int
) -> Canvas:
    """Return the canvas of a category whose images keep their shape.

    A run rounds its longer side to whole patches of the backbone, and takes the median of the
    images that it learns from; here it is that of all training images, which a run may draw.
    """
    aspects: dict[str, float] = {}
    for folder in (it for it in folders if it.split == "train" and it.defect == "good"):
        for stem, path in folder.files[reader.modalities[0]].items():
            try:
                height, width = photograph_size(path)
            except DataError:  # whoever opens it names it
                continue
            aspects[folder.sample(stem).name] = width / height
    if not aspects:
        return Canvas.square(image_size)
    canvas = Canvas.of_aspect(statistics.median(aspects.values()), image_size, cell=1)
    try:
        canvas.refuse_other_shapes(aspects)
    except DataError as error:
        report.problems.append(f"{category}: {message_of(error)}")
    return canvas


def _check_category(
    category: str, folders: list[Folder], reader: DatasetReader, report: Report, canvas: Canvas
) -> None:
    problems, notes = _missing_kinds(category, folders)
    report.problems += problems
    if not any(folder.stems for folder in folders if folder.split == "test"):
        report.problems += _misplaced(category, reader)
    report.notes += notes + unread_lines(reader, [category])
    rows = [Row(folder) for folder in folders]
    for row in rows:
        folder = row.folder
        report.problems += _missing_files(folder)
        report.notes += _missing_masks(folder) + _left_out(folder)
        faults = []
        for stem in track(folder.stems, folder.place, len(folder.stems)):
            faults += faults_of(stem, row, reader, canvas)
        report.problems += in_lines(faults, folder)
        report.notes += in_lines(row.notes, folder) + _tiny_defects(row, canvas)
    report.problems += _unlike_training(rows)
    report.notes += _other_scenes(rows)
    report.rows += rows


def _missing_kinds(category: str, folders: list[Folder]) -> tuple[list[str], list[str]]:
    """Tell what stops a run, and what it goes without: one side of the test, or both."""
    there = {(folder.split, folder.defect) for folder in folders if folder.stems}
    problems = []
    if ("train", "good") not in there:
        problems.append(f"{category}/train: expected good images, got none")
    for split, defect in sorted(there):
        if split == "train" and defect not in ("good", "unknown"):
            problems.append(
                f"{category}/train/{defect}: expected training images without defects, got "
                f"{defect!r}. Move them to test/{defect}, or out of the dataset"
            )
    notes = []
    without = "the metrics that compare good with defective images will be –"
    if ("test", "good") not in there:
        notes.append(f"{category}/test: expected good images, got none: {without}")
    if not any(split == "test" and defect != "good" for split, defect in there):
        notes.append(f"{category}/test: expected images with defects, got none: {without}")
    return problems, notes


def _misplaced(category: str, reader: DatasetReader) -> list[str]:
    """Tell as a run does that there are test images, but not where it looks."""
    try:
        reader.samples(category, "test")
    except MissingDataError as error:
        return [message_of(error)]
    return []


def _missing_files(folder: Folder) -> list[str]:
    missing = {kind: folder.missing(kind) for kind in folder.needed}
    return [_expected(folder, kind, stems) for kind, stems in missing.items() if stems]


def _missing_masks(folder: Folder) -> list[str]:
    if folder.split != "test" or folder.defect in ("good", "unknown"):
        return []
    missing = folder.missing("gt")
    return [f"{_expected(folder, 'gt', missing)}: pixel metrics will be –"] if missing else []


def _expected(folder: Folder, kind: str, missing: list[str]) -> str:
    count = len(folder.stems)
    return (
        f"{folder.place}: expected {folder.patterns[kind]} for every image, "
        f"got {count - len(missing)} of {count} (none for {listed(missing)})"
    )


def _left_out(folder: Folder) -> list[str]:
    if not folder.left_out:
        return []
    names = [f"{path.parent.name}/{path.name}" for path in folder.left_out]
    files = "1 file" if len(names) == 1 else f"{len(names)} files"
    return [f"{folder.place}: {files} ignored: not a kind of file that is read ({listed(names)})"]


def _tiny_defects(row: Row, canvas: Canvas) -> list[str]:
    if not row.tiny:
        return []
    size = min(canvas.shape)
    return [
        f"{row.folder.place}: {len(row.tiny)} of {len(row.folder.stems)} defects are smaller than "
        f"a pixel at data.image_size={size} ({listed(row.tiny)}): they can hardly be seen. "
        "Take a larger data.image_size"
    ]


def _other_scenes(rows: list[Row]) -> list[str]:
    """Tell which folders' images are of another aspect or scale than the training images."""
    training = next((row for row in rows if row.folder.place.endswith("/train/good")), None)
    if training is None or not training.profiles:
        return []
    usual = training.profiles[0]
    notes = []
    for row in rows:
        other = sum(usual.differs(profile) for profile in row.profiles)
        if other:
            notes.append(
                f"{row.folder.place}: {other} of {len(row.profiles)} images have another width : "
                "height than the first training image, or show twice or half as much of the scene"
            )
    return notes


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
