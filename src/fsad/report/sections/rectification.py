"""Rows of both banks around a stage that rectifies them, if a run kept such: the paper's Fig. 6."""

import re
from collections.abc import Sequence

import numpy as np

from fsad.report.closeness import Rows, gap_of_means, mixed, mixing
from fsad.report.features import METRICS, StageFeatures, add_points, measures, numbers
from fsad.report.figure import as_html
from fsad.report.markup import paragraph
from fsad.report.projections import Pca
from fsad.report.section import Section

STAGE = "rectify"
BEFORE = ("source", "target")
AFTER = ("source_rectified", "target_rectified")
Pair = tuple[Rows, Rows]
"""Rows of the source and of the target."""


def rectification(features: Sequence[StageFeatures]) -> list[Section]:
    """Draw rows of both banks before and after rectification in one plane, a section per category.

    The plane is fitted to the rows of both domains before R; the rows after R are put into it.

    Args:
        features: What stages kept.
    """
    sections = []
    for kept in features:
        if kept.stage == STAGE and kept.sets.keys() >= {*BEFORE, *AFTER}:
            name = f"rectification-{re.sub(r'[^A-Za-z0-9]+', '-', kept.category)}"
            title = f"{kept.category}: banks before and after rectification (PCA)"
            sections.append(Section(name, title, kept.origin() + _html(kept, f"{name}-pca")))
    return sections


def _html(kept: StageFeatures, name: str) -> str:
    from plotly.subplots import make_subplots

    before, after = ((kept.sets[source], kept.sets[target]) for source, target in (BEFORE, AFTER))
    plane = Pca.fit(np.concatenate(before))
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=["before R", "after R, in the same plane"],
        shared_xaxes="all",
        shared_yaxes="all",
        horizontal_spacing=0.04,
    )
    for column, (source, target) in enumerate((before, after), 1):
        points = plane.project(source), plane.project(target)
        add_points(figure, 1, column, points, kept.domains(), column == 1)
    one, two = (
        f"PCA {i} ({share:.0%} of the variance)" for i, share in enumerate(plane.explained, 1)
    )
    figure.update_xaxes(title_text=one, showticklabels=True)
    figure.update_yaxes(title_text=two, col=1)
    return _said(before, after, plane, _gap(kept)) + as_html(figure, name, height=480)


def _gap(kept: StageFeatures) -> str:
    """Say how far the whole banks lie apart before and after R, if the run measured both."""
    before, after = (kept.diagnostics.get(f"gap_over_norm_{when}") for when in ("before", "after"))
    if before is None or after is None:
        return ""
    return (
        " Over the whole banks, the mean distance to the nearest row of the other domain is "
        f"{before:.2f} of the mean norm before R and {after:.2f} after it."
    )


def _said(before: Pair, after: Pair, plane: Pca, gap: str) -> str:
    rows = [
        (
            title,
            f"{gap_of_means(*both):.2f}",
            *(f"{mixing(*both, metric):.0%}" for metric in METRICS),
            f"{np.linalg.norm(np.concatenate(both), axis=1).mean():.1f}",
        )
        for title, both in (("before R", before), ("after R", after))
    ]
    return paragraph(
        f"The plane is fitted to the bank rows before rectification (R) and shows "
        f"{plane.explained.sum():.0%} of their variance; the table is measured on all channels. If "
        "both domains had the same distribution, "
        f"{mixed(len(before[0]), len(before[1])):.0%} of the nearest neighbours would be in the "
        f"other domain.{gap}"
    ) + numbers(measures("mean norm"), rows)
