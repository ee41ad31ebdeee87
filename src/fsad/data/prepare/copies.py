"""From a dataset as downloaded to a copy in which the part is alone and without holes.

The copy always has MVTec 3D-AD's layout, plus ``part/NNN.png``, so ``data=mvtec3d`` reads it.
Every file appears whole or not at all, and a sample that is there is not made again: a killed
preparation is continued by the same command.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from fsad.data.depth_rules import DepthRules
from fsad.data.inspect.faults import listed
from fsad.data.layout import LAYOUTS, find_format, open_reader
from fsad.data.listing import check_category
from fsad.data.prepare import isolate
from fsad.data.prepare.writer import SampleWriter
from fsad.data.record import PREPARED, begin_record, record_category
from fsad.data.sample import Split
from fsad.errors import ConfigError, DataError, MissingDataError, check_at_least, check_positive
from fsad.runtime.progress import track
from fsad.storage.tensors import make_folder, sweep

SCHEMA = 1  # raised when the same settings would give other files


@dataclass
class Prepared:
    """What a preparation did.

    Attributes:
        written: Number of samples made now.
        found: Number of samples that were there already.
        failed: What could not be made, with the reason: samples, ``category/split/defect/stem``,
            and whole categories whose files do not pair up, ``category``.
    """

    written: int = 0
    found: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def failures(self) -> list[str]:
        """Say what could not be made: what was expected of several samples alike is one line."""
        alike: dict[str, list[str]] = {}
        for name, reason in self.failed.items():
            alike.setdefault(reason.split(": ", 1)[-1].split(", got")[0], []).append(name)
        lines = []
        for first, *others in alike.values():
            more = f"; so {len(others)} more ({listed(others)})" if others else ""
            lines.append(f"{first}: {self.failed[first]}{more}")
        return lines


def prepare(
    source: Path,
    output: Path,
    *,
    layout: str = "auto",
    light: int = 4,
    threshold: float | None = None,
    categories: Iterable[str] = (),
    rgb_background: str = "keep",
    seed: int = 0,
    rules: DepthRules | None = None,
) -> Prepared:
    """Write a copy of a dataset with the ground removed and the part's holes filled.

    Laws (``tests/data/test_prepare.py``):

    * The source is never written to.
    * A second run changes no byte; a run that was killed and continued gives the bytes of an
      unbroken one, in whatever order the categories came.

    Args:
        source: The dataset as downloaded: the folder that holds the categories.
        output: The copy: a new or empty folder, or an earlier preparation with these settings.
        layout: One of :data:`~fsad.data.layout.LAYOUTS`, or ``auto`` to look.
        light: Which of Eyecandies' renderings becomes the RGB image.
        threshold: A point this near the ground is removed; in metres for MVTec 3D-AD, in the
            renderer's units for Eyecandies. The dataset's own if omitted.
        categories: Which ones; all if empty.
        rgb_background: ``keep`` copies the RGB image, ``zero`` blackens it outside the part, as
            published preparations do.
        seed: Of the plane fits; a sample's fit depends on it and on the sample's name alone.
        rules: How the source's depth files are read; the copy's are in metres, and new images are
            read as the source's.

    Raises:
        ConfigError: A setting is out of range, or one folder lies in the other.
        MissingDataError: The source is missing or has no category.
        DataError: The source has no known layout, no depth, or is itself a prepared copy.
        RunError: ``output`` holds something else.
        OutputError: ``output`` cannot be written.
    """
    _check_folders(source, output)
    layout = find_format(source, layout)
    threshold = check_positive(
        "--threshold", LAYOUTS[layout].plane_height if threshold is None else threshold
    )
    if rgb_background not in ("keep", "zero"):
        raise ConfigError(f"--rgb-background: expected keep or zero, got {rgb_background!r}")
    check_at_least("--seed", seed, 0)
    reader = open_reader(source, layout, rules, light)
    if "depth" not in reader.modalities:
        raise DataError(
            f"{source}: expected depth, by which the ground is found, got a data set of "
            f"{', '.join(reader.modalities)} ({layout}). It needs no preparation: use it as it is."
        )
    known = reader.categories()
    chosen = [check_category(name, known, "--category") for name in categories] or known

    path = make_folder(output, "output") / PREPARED
    parameters: dict[str, object] = {
        "threshold": threshold,
        "unit": reader.unit,
        "light": reader.light,
        "rgb_background": rgb_background,
        **isolate.CONSTANTS,
    }
    if rules:  # copies of earlier versions know none
        parameters["rules"] = rules.to_json()
    record = begin_record(
        path,
        {
            "schema": SCHEMA,
            "fsad": version("fsad"),
            "source": {"name": source.resolve().name, "format": layout},
            "parameters": parameters,
            "seed": seed,
        },
    )
    sweep(output)

    report = Prepared()
    writer = SampleWriter(reader, output, threshold, rgb_background == "zero", seed)
    for category in chosen:
        record_category(path, record, category, _prepare_category(category, writer, report))
    return report


def _check_folders(source: Path, output: Path) -> None:
    inner, outer = source.resolve(), output.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise ConfigError(
            f"output: expected a folder apart from the source '{source}', got '{output}'. "
            "The source is never written to."
        )
    if (source / PREPARED).exists():
        raise DataError(
            f"{source}: expected a dataset as downloaded, got a prepared copy ({PREPARED}). "
            "Give the one that it was made from, or use this as it is."
        )


def _prepare_category(category: str, writer: SampleWriter, report: Prepared) -> dict[str, object]:
    """Make a category's samples and return its entry for the record."""
    read = writer.reader.samples
    try:
        samples = [sample for split in get_args(Split) for sample in read(category, split)]
    except (DataError, MissingDataError) as error:  # the other categories may be whole
        report.failed[category] = str(error)
        return {"samples": {}, "failed": [category]}
    writer.copy_notices(category)
    counts: Counter[str] = Counter()
    failed: dict[str, str] = {}
    for sample in track(samples, category, len(samples)):
        place = f"{sample.split}/{sample.defect}"
        try:
            is_new = writer.write(sample)
        except DataError as error:
            failed[f"{category}/{place}/{sample.stem}"] = str(error)
            continue
        report.written += is_new
        report.found += not is_new
        counts[place] += 1
    report.failed |= failed
    return {"samples": dict(sorted(counts.items())), "failed": sorted(failed)}
