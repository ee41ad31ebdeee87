"""The paper's Table 1 beside our rows of the same data set, protocol, shots and category."""

import csv
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

DATASET = "mvtec3d"
ABOUT: Sequence[Mapping[str, Any]] = (
    {
        "protocol": "cross_domain",
        "protocol.source_modality": "rgb",
        "protocol.modality": "depth",
    },
    {"protocol": "few_shot", "protocol.modality": "depth"},
)
"""Settings of the runs that the table is about: those of methods with source images, or without."""
TITLE = "the paper's Table 1, image AUROC"
NOTE = (
    "The paper's numbers are of the whole test set and DINO ViT-B/8. Its draw of the shots is "
    "unknown and its preparation of the data is not described. Ours are not comparable where any "
    "of these differs; a mean of 10 categories has a standard error of about 0.013."
)


class Printed(NamedTuple):
    """One number of Table 1.

    Attributes:
        shots: Target images.
        method: As the paper calls it.
        category: The object, or ``mean``.
        image_auroc: In [0, 1]; None where it is illegible.
        note: What is to be known of it, or nothing.
    """

    shots: int
    method: str
    category: str
    image_auroc: float | None
    note: str


@cache
def paper_table() -> tuple[Printed, ...]:
    """Return Table 1: printed numbers, row means recomputed from them.

    Source:
        HyperTrans, Table 1 (few-shot RGB to depth on MVTec 3D-AD).
    """
    with Path(__file__).with_name("paper_table1.csv").open(encoding="utf-8") as file:
        return tuple(
            Printed(
                int(row["shots"]),
                row["method"],
                row["category"],
                float(row["image_auroc"]) if row["image_auroc"] else None,
                row["note"],
            )
            for row in csv.DictReader(file)
        )


def is_about(settings: Mapping[str, Any]) -> bool:
    """Tell whether the table is about runs on such data, under such a protocol.

    Args:
        settings: As :func:`fsad.results.table.settings.settings_of` returns them.
    """
    return settings.get("dataset") == DATASET and any(
        all(settings.get(name) == value for name, value in protocol.items()) for protocol in ABOUT
    )


def beside(settings: Mapping[str, Any], categories: Collection[str]) -> list[Printed]:
    """Return the paper's numbers for what a table shows; the mean only beside all ten categories.

    Args:
        settings: Of the runs, as :func:`fsad.results.table.settings.settings_of` returns them.
        categories: Those that the runs have.

    Returns:
        Nothing beside runs on other data or under another protocol.
    """
    if not is_about(settings):
        return []
    of_shots = [each for each in paper_table() if each.shots == settings["shots"]]
    whole = {each.category for each in of_shots} - {"mean"} <= set(categories)
    return [
        each
        for each in of_shots
        if each.category in categories or (whole and each.category == "mean")
    ]


def lines(printed: Sequence[Printed]) -> list[list[str]]:
    """Return headings and one line per shots and category, as text for people.

    Args:
        printed: What :func:`beside` gave.
    """
    methods = list(dict.fromkeys(each.method for each in printed))
    cells = {(each.shots, each.category, each.method): each for each in printed}
    places = list(dict.fromkeys((each.shots, each.category) for each in printed))
    body = [
        [str(shots), category, *(_cell(cells.get((shots, category, it))) for it in methods)]
        for shots, category in places
    ]
    return [["shots", "category", *methods], *body]


def _cell(printed: Printed | None) -> str:
    if printed is None:
        return "–"
    number = "" if printed.image_auroc is None else f"{printed.image_auroc:.3f}"
    return " ".join(part for part in (number, printed.note and f"({printed.note})") if part)
