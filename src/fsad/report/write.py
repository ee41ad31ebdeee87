"""Writing the report of one or several runs."""

from collections.abc import Sequence
from pathlib import Path

from fsad.errors import FsadError, MissingDataError, message_of
from fsad.report.cards import images_of
from fsad.report.comparable import is_random, is_stand_in
from fsad.report.features import kept_features
from fsad.report.page import page
from fsad.report.sections.audit import audit, audited, warnings
from fsad.report.sections.directions import directions
from fsad.report.sections.forest import forest
from fsad.report.sections.images import images
from fsad.report.sections.perturbation import perturbation
from fsad.report.sections.provenance import provenance
from fsad.report.sections.rectification import rectification
from fsad.report.sections.results import results
from fsad.report.sections.seen import seen_anomalies
from fsad.report.sections.sweeps import sweeps
from fsad.results.record import RunResult
from fsad.results.table import Runs, collect, compare
from fsad.results.table.settings import settings_of
from fsad.storage.tensors import make_folder, write_text

NAME = "report.html"


def write_report(
    folders: Sequence[Path],
    out: Path | None = None,
    reference: str = "",
    data_root: Path | None = None,
) -> Path:
    """Write one self-contained HTML page about finished runs.

    Tables are about all runs, images about the first. What is missing or damaged is left out, and
    named at the top.

    Args:
        folders: Folders of runs, searched to any depth.
        out: The file; by default ``report.html`` in the folder of a single run, or here.
        reference: A method that every other is compared with, or nothing.
        data_root: Where the first run's data set is now; where it was if omitted.

    Returns:
        The file.

    Raises:
        MissingDataError: There is no run, or none that has a result.
        DataError: No run's result can be read.
        ConfigError: No run is of the reference method.
        OutputError: The file cannot be written.

    Note:
        About 5 MB for plotly.js and up to 16 MB of images.
    """
    runs = collect(folders)
    runs.refuse_unreadable()
    if not runs.results:
        raise MissingDataError(
            f"{runs.missing[0]}: expected a run with a result, got one without result.json. "
            "Go on with it: python train.py resume=RUN_DIR."
        )
    first = runs.results[0]
    if out is None:
        out = first.path.parent / NAME if len(runs.results) == 1 else Path(NAME)
    make_folder(out.parent, "--out")
    write_text(out, _page(runs, first, reference, data_root))
    return out


def _page(runs: Runs, first: RunResult, reference: str, data_root: Path | None) -> str:
    shown = images_of(first, data_root)
    banners = [*_about_backbones(runs.results), *shown.problems]
    sections = [*results(runs), *images(runs, shown)]
    sections += seen_anomalies(first.categories, shown.reader)
    if reference:
        sections += forest(compare(runs, reference))
    sections += sweeps(runs.results)
    try:
        features = kept_features(runs.results)
        sections += [*perturbation(features), *rectification(features)]
        sections += directions([it for it in features if it.result is first], shown.reader)
    except FsadError as error:
        banners.append(f"No figures of features: {message_of(error)}")
    if shown.reader is not None:
        try:
            statistics = audited(shown.reader, first.categories)
            banners += warnings(statistics)
            sections += audit(statistics, first.categories)
        except FsadError as error:
            banners.append(f"No audit of trivial statistics: {message_of(error)}")
    banners += [f"Not read: {problem}" for problem in runs.problems]
    banners += [f"Without a result: {name}" for name in runs.missing]
    sections += provenance(runs.results)
    return page(*_title(runs, first), banners, sections, shown.payload)


def _title(runs: Runs, first: RunResult) -> tuple[str, str]:
    if len(runs.results) > 1:
        methods = ", ".join(dict.fromkeys(result.method for result in runs.results))
        return f"{len(runs.results)} runs", methods
    settings = settings_of(first)
    names = ", ".join(first.categories)
    return f"{first.method} on {names}", (
        f"{settings['dataset']} · {settings['backbone']} · {settings['shots']} shots · "
        f"seed {first.seed}"
    )


def _about_backbones(runs: Sequence[RunResult]) -> list[str]:
    """Warn of backbones that are not what the paper used."""
    random = sorted({str(run.backbone.get("name")) for run in runs if is_random(run)})
    others = {
        str(run.backbone.get("name")) for run in runs if is_stand_in(run) and not is_random(run)
    }
    found = [
        f"Random weights: {name} is untrained. Its numbers only show that the program runs."
        for name in random
    ]
    return found + [
        f"Stand-in backbone: {name}. The paper uses DINO ViT-B/8; numbers of another backbone "
        "say nothing about the paper's."
        for name in sorted(others)
    ]
