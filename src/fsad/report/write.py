"""Writing the report of one or several runs."""

from collections.abc import Sequence
from pathlib import Path

from fsad.errors import FsadError, MissingDataError, message_of
from fsad.report.audit import audit, audited, warnings
from fsad.report.cards import Images, images_of
from fsad.report.comparable import is_random, is_stand_in
from fsad.report.diagnostics import diagnostics
from fsad.report.forest import forest
from fsad.report.page import explorer, page
from fsad.report.provenance import provenance
from fsad.report.results import results
from fsad.report.section import Section
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
    images = images_of(first, data_root)
    banners = [*_about_backbones(runs.results), *images.problems]
    sections = [results(runs)]
    if images.payload:
        sections.append(Section("images", "Images and mistakes", explorer(_intro(runs, images))))
    if reference:
        sections.append(forest(compare(runs, reference)))
    try:
        sections += diagnostics(runs.results)
    except FsadError as error:
        banners.append(f"No figures of sweeps and features: {message_of(error)}")
    if images.reader is not None:
        try:
            found = audited(images.reader, first.categories)
            banners += warnings(found)
            sections += [audit(found, first.categories)] if found else []
        except FsadError as error:
            banners.append(f"No audit of trivial statistics: {message_of(error)}")
    banners += [f"Not read: {problem}" for problem in runs.problems]
    banners += [f"Without a result: {name}" for name in runs.missing]
    sections.append(provenance(runs.results))
    return page(*_title(runs, first), banners, sections, images.payload)


def _title(runs: Runs, first: RunResult) -> tuple[str, str]:
    if len(runs.results) > 1:
        methods = ", ".join(dict.fromkeys(it.method for it in runs.results))
        return f"{len(runs.results)} runs", methods
    settings = settings_of(first)
    names = ", ".join(first.categories)
    return f"{first.method} on {names}", (
        f"{settings['dataset']} · {settings['backbone']} · {settings['shots']} shots · "
        f"seed {first.seed}"
    )


def _about_backbones(runs: Sequence[RunResult]) -> list[str]:
    """Warn of backbones that are not what the paper used."""
    random = sorted({str(it.backbone.get("name")) for it in runs if is_random(it)})
    others = {str(it.backbone.get("name")) for it in runs if is_stand_in(it) and not is_random(it)}
    found = [
        f"Random weights: {name} is untrained. Its numbers only show that the program runs."
        for name in random
    ]
    return found + [
        f"Stand-in backbone: {name}. The paper uses DINO ViT-B/8; numbers of another backbone "
        "say nothing about the paper's."
        for name in sorted(others)
    ]


def _intro(runs: Runs, images: Images) -> str:
    first, several = runs.results[0], len(runs.results)
    whose = (
        f"Images are those of one run, the first of {several}: {first.method}, "
        f"{settings_of(first)['shots']} shots, seed {first.seed}, in {first.path.parent}. "
        "More would make the page too large; to see another run's, name its folder first. "
    )
    left = images.images - images.cards
    omitted = (
        f"{left} of {images.images} images have no card, to keep the page small: those with the "
        "smallest mistakes. Scores and curves include them."
    )
    return (whose if several > 1 else "") + (omitted if left else "All test images are here.")
