"""The images with a defect that a run was allowed to learn from, or was given as references."""

from collections.abc import Mapping

from fsad.data.canvas import Canvas
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.errors import FsadError, message_of
from fsad.report.markup import cell, escape, paragraph, table
from fsad.report.pictures import pictures
from fsad.report.section import Section
from fsad.results.dataset import images_by_file
from fsad.results.record import CategoryResult

SIDE = 128  # pixels of a picture
MOST = 20  # pictures of a category


def seen_anomalies(
    categories: Mapping[str, CategoryResult], reader: DatasetReader | None
) -> list[Section]:
    """Name and show the anomalies that were learnt from; nothing where there were none.

    Where good images of the same category were few and known too, both are its references.

    Args:
        categories: Of the first run.
        reader: Its data set, for pictures, where it is at hand.
    """
    known = {name: it.anomalies for name, it in categories.items() if it.anomalies}
    if not known:
        return []
    if all(categories[name].shots for name in known):
        return [_references({name: categories[name] for name in known}, reader)]
    html = paragraph("Their labels were known in training; none of them is a test image.")
    for name, files in known.items():
        rows = [
            [cell(str(place + 1), "number"), cell(it, "code")] for place, it in enumerate(files)
        ]
        shown = _pictures(reader, name, files) if reader is not None else ""
        html += f"<h3>{escape(name)}</h3>{shown}"
        html += table("In the order of the draw, by file name", ["number", "file"], rows)
    return [Section("anomalies", "Anomalies that were learnt from", html)]


def _references(categories: Mapping[str, CategoryResult], reader: DatasetReader | None) -> Section:
    """Name and show normal and defective references, the latter with their masks."""
    html = paragraph("What the images below were scored by; no reference is a test image.")
    for name, result in categories.items():
        html += f"<h3>{escape(name)}</h3>"
        kinds = {"normal": result.shots, "defective": result.anomalies}
        for kind, files in kinds.items():
            if reader is not None:
                html += _pictures(reader, name, files, truth=kind == "defective")
        rows = [[cell(kind), cell(file, "code")] for kind, files in kinds.items() for file in files]
        html += table("Each kind in the order of the draw", ["reference", "file"], rows)
    return Section("references", "References", html)


def _pictures(reader: DatasetReader, category: str, files: list[str], truth: bool = False) -> str:
    """Return small pictures of some files, and of their masks, as far as they can be read."""
    try:
        images = images_by_file(reader, category)
    except FsadError as error:
        return paragraph(f"No pictures: {message_of(error)}")
    chosen = [file for file in files if file in images][:MOST]
    return "".join(_picture(reader, file, *images[file], truth) for file in chosen)


def _picture(reader: DatasetReader, file: str, sample: Sample, modality: str, truth: bool) -> str:
    try:
        found = pictures(reader, sample, Canvas.square(SIDE))
    except FsadError as error:
        return paragraph(f"No picture: {message_of(error)}")
    shown = {file: found[modality]} | ({f"mask of {file}": found["truth"]} if truth else {})
    names = {escape(title, quote=True): uri for title, uri in shown.items()}
    return "".join(
        f'<img src="{uri}" alt="{name}" title="{name}" width="{SIDE}" height="{SIDE}"> '
        for name, uri in names.items()
    )
