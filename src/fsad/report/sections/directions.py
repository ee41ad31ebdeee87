"""The patches of known defects that each learnt direction responds to, if a run kept such."""

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from fsad.data.canvas import Canvas
from fsad.data.reader import DatasetReader
from fsad.errors import FsadError, message_of
from fsad.report.features import StageFeatures
from fsad.report.markup import escape, paragraph
from fsad.report.pictures import excerpt, pixels_of
from fsad.report.section import Section
from fsad.results.dataset import images_by_file
from fsad.results.feature_samples import RESPONSES, Response

CANVAS = Canvas.square(448)  # what patches are cut out of
AROUND = 1.0  # what is shown around a patch, in its own heights and widths
SIDE = 56  # pixels of a picture


def directions(features: Sequence[StageFeatures], reader: DatasetReader | None) -> list[Section]:
    """Show the patches that each direction responds to most, a section per category.

    Args:
        features: What stages kept.
        reader: The data set of their runs, where it is at hand: without it there is no picture.
    """
    if reader is None:
        return []
    return [
        Section(
            f"directions-{re.sub(r'[^A-Za-z0-9]+', '-', kept.category)}",
            f"{kept.category}: what each direction of defects responds to",
            kept.origin() + _html(kept, reader),
        )
        for kept in features
        if RESPONSES in kept.sets
    ]


def _html(kept: StageFeatures, reader: DatasetReader) -> str:
    responses = [Response.of_row(row) for row in kept.sets[RESPONSES]]
    files = kept.result.categories[kept.category].anomalies
    try:
        there = images_by_file(reader, kept.category)
        if lacking := sorted(set(files) - there.keys()):
            return paragraph(f"No pictures: {lacking[0]} is not in the data set any more")
        images = [pixels_of(reader, *there[file], CANVAS) for file in files]
    except FsadError as error:
        return paragraph(f"No pictures: {message_of(error)}")
    tiles = "".join(
        _tile(number, list(own), images, files)
        for number, own in groupby(responses, key=lambda response: response.direction)
    )
    most = max(sum(it.direction == 0 for it in responses), 1)
    return (
        paragraph(
            f"Of each of the {responses[-1].direction + 1} directions the {most} anomalous patches "
            "of the defective references whose residuals it is most like, in a frame, with what is "
            "around them, and the cosine of the first. Directions that show the same patches tell "
            "no two defects apart."
        )
        + f'<div class="tiles">{tiles}</div>'
    )


def _tile(
    number: int,
    responses: Sequence[Response],
    images: Sequence[NDArray[np.uint8]],
    files: Sequence[str],
) -> str:
    shown = ""
    for it in responses:
        box = (it.left, it.top, it.left + it.width, it.top + it.height)
        said = escape(f"{files[it.image]}, cosine {it.cosine:.3f}", quote=True)
        picture = excerpt(images[it.image], box, AROUND, SIDE)
        shown += f'<img src="{picture}" alt="{said}" title="{said}" width="{SIDE}">'
    caption = f"<figcaption>{number + 1}: {responses[0].cosine:.2f}</figcaption>"
    return f"<figure>{shown}{caption}</figure>"
