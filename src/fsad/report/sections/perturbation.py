"""Features around a stage that perturbs the source, if a run kept such: the paper's Fig. 5."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from fsad.report.closeness import Rows, gap_of_means, mixed, mixing, moved
from fsad.report.features import METRICS, StageFeatures, add_points, measures, numbers
from fsad.report.figure import as_html
from fsad.report.markup import paragraph
from fsad.report.projections import tsne
from fsad.report.section import Section

STAGE = "perturb"
POINTS = 100
"""Most rows of a set that t-SNE lays out; its time grows with them."""
PANELS = (
    ("source", "target", "before: frozen backbone"),
    ("perturbed", "target", "perturbed"),
    ("adapted", "target_adapted", "perturbed, through the adapters"),
)
"""The panels of the figure: which source set, which target set, title."""
SETS = {name for source, target, _ in PANELS for name in (source, target)}


def perturbation(features: Sequence[StageFeatures]) -> list[Section]:
    """Draw source and target before, under and after the perturbation, a section per category.

    Args:
        features: What stages kept.

    Note:
        Some seconds per category, for t-SNE.
    """
    sections = []
    for kept in features:
        if kept.stage == STAGE and kept.sets.keys() >= SETS:
            name = f"perturbation-{re.sub(r'[^A-Za-z0-9]+', '-', kept.category)}"
            html = kept.origin() + _verdict(kept.diagnostics)
            html += _said(kept.sets) + _figure(kept, f"{name}-tsne")
            title = f"{kept.category}: features under perturbation (t-SNE)"
            sections.append(Section(name, title, html))
    return sections


def _verdict(measured: Mapping[str, float]) -> str:
    """Say whether the adapters learnt to undo the noise, if the run measured it."""
    keys = ("loss_over_variance", "loss_over_variance_untrained", "clean_drift")
    loss, untrained, drift = (measured.get(key) for key in keys)
    if loss is None or untrained is None or drift is None:
        return ""
    failed = loss > 1
    verdict = (
        f"The adapters {'did not learn' if failed else 'learnt'} to undo the noise: their error is "
        f"{loss:.2f} times the variance of the features ({untrained:.2f} before training). Above 1 "
        f"a constant would predict better. They change features without noise by {drift:.3f} of "
        "their variance."
    )
    if failed:
        verdict += (
            " The scores of the run are valid: the backbone is unchanged, and the less the "
            "adapters change, the closer the scores are to those of method.stages.perturb=false."
        )
    return paragraph(verdict)


def _figure(kept: StageFeatures, name: str) -> str:
    """Draw the panels; all sets share one layout per metric, so that they can be compared."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=len(METRICS),
        cols=len(PANELS),
        subplot_titles=[f"{title}, {by}" for by in METRICS.values() for _, _, title in PANELS],
        shared_xaxes="rows",
        shared_yaxes="rows",
        horizontal_spacing=0.03,
        vertical_spacing=0.12,
    )
    few = {key: rows[:: -(-len(rows) // POINTS)] for key, rows in kept.sets.items()}
    for row, metric in enumerate(METRICS, 1):
        everything = tsne(np.concatenate(list(few.values())), metric)
        ends = np.cumsum([len(rows) for rows in few.values()])[:-1]
        places = dict(zip(few, np.split(everything, ends), strict=True))
        for column, (source, target, _) in enumerate(PANELS, 1):
            points = places[source], places[target]
            add_points(figure, row, column, points, kept.domains(), row == column == 1)
    figure.update_xaxes(title_text="t-SNE 1", row=len(METRICS))
    figure.update_yaxes(title_text="t-SNE 2", col=1)
    return as_html(figure, name, height=720, ticks=False)  # a layout's places have no unit


def _said(sets: Mapping[str, Rows]) -> str:
    rows = []
    for source, target, title in PANELS:
        both = sets[source], sets[target]
        shares = [f"{mixing(*both, metric):.0%}" for metric in METRICS]
        rows.append((title, f"{gap_of_means(*both):.2f}", *shares))
    noise = moved(sets["source"], sets["perturbed"])
    left = moved(sets["source"], sets["adapted"])
    chance = mixed(len(sets["source"]), len(sets["target"]))
    return paragraph(
        f"The noise moves the features of a source patch by {noise:.2f} of their mean norm; "
        f"behind the adapters {left:.2f} remain. Each image has its own noise. A t-SNE plot can "
        "hide gaps: trust the table, which is measured on all channels. If both domains had the "
        f"same distribution, {chance:.0%} of the nearest neighbours would be in the other domain. "
        "The panels of a row share one layout; the axes have no unit."
    ) + numbers(measures(), rows)
