"""Figures of features: source and target around the perturbation and around the rectification."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from fsad.report.closeness import Rows, gap_of_means, mixed, mixing, moved
from fsad.report.figure import BLUE, ORANGE, as_html
from fsad.report.projections import Pca, Plane, tsne

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

POINTS = 100
"""Most rows of a set that t-SNE lays out; its time grows with them."""
METRICS = {"euclidean": "L2", "cosine": "cosine"}
PERTURBED = (
    ("source", "target", "before: frozen backbone"),
    ("perturbed", "target", "perturbed"),
    ("adapted", "target_adapted", "perturbed, through the adapters"),
)
"""The panels of the figure on the perturbation: which source set, which target set, title."""
MARKERS = {
    "source": {"color": BLUE, "symbol": "circle", "size": 5, "opacity": 0.75},
    "target": {"color": ORANGE, "symbol": "diamond", "size": 6, "opacity": 0.75},
}
NAMES = {"source": "source (RGB)", "target": "target (depth of the shots)"}


def perturbation_html(sets: Mapping[str, Rows], name: str) -> str:
    """Draw the paper's Fig. 5: source and target before, under and after the perturbation.

    All sets share one layout per metric, so that panels can be compared.

    Args:
        sets: What :meth:`DomainPerturbationModule.embeddings` gives, by name.
        name: Of the figure in the page.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=len(METRICS),
        cols=len(PERTURBED),
        subplot_titles=[
            f"{title}, {said}" for said in METRICS.values() for _, _, title in PERTURBED
        ],
        shared_xaxes="rows",
        shared_yaxes="rows",
        horizontal_spacing=0.03,
        vertical_spacing=0.12,
    )
    few = {key: rows[:: -(-len(rows) // POINTS)] for key, rows in sets.items()}
    for row, metric in enumerate(METRICS, 1):
        everything = tsne(np.concatenate(list(few.values())), metric)
        ends = np.cumsum([len(rows) for rows in few.values()])[:-1]
        places = dict(zip(few, np.split(everything, ends), strict=True))
        for column, (source, target, _) in enumerate(PERTURBED, 1):
            first = row == column == 1
            _points(figure, row, column, places[source], places[target], first)
    figure.update_xaxes(title_text="t-SNE 1", row=len(METRICS))
    figure.update_yaxes(title_text="t-SNE 2", col=1)
    html = as_html(figure, name, height=720, ticks=False)  # a layout's places have no unit
    return _perturbation_said(sets) + html


def _perturbation_said(sets: Mapping[str, Rows]) -> str:
    rows = []
    for source, target, title in PERTURBED:
        of = sets[source], sets[target]
        shares = [f"{mixing(*of, metric):.0%}" for metric in METRICS]
        rows.append((title, f"{gap_of_means(*of):.2f}", *shares))
    head = ("source against target", "distance of means / mean norm", *_shares_of(METRICS))
    noise = moved(sets["source"], sets["perturbed"])
    left = moved(sets["source"], sets["adapted"])
    chance = mixed(len(sets["source"]), len(sets["target"]))
    return (
        f"<p>The noise moves the features of a source patch by {noise:.2f} of their mean norm; "
        f"behind the adapters {left:.2f} remain. Each image has its own noise. A t-SNE plot can "
        "hide gaps: trust the table, which is measured on all channels. If both domains had the "
        f"same distribution, {chance:.0%} of the nearest neighbours would be in the other domain. "
        "The panels of a row share one layout; the axes have no unit.</p>" + _table(head, rows)
    )


def rectification_html(sets: Mapping[str, Rows], name: str, gap: tuple[float, float] | None) -> str:
    """Draw the paper's Fig. 6: rows of both banks before and after R, in one plane.

    The plane is fitted to the rows of both domains before R; the rows after R are put into it.

    Args:
        sets: What :meth:`HypergraphRectificationModule.embeddings` gives, by name.
        name: Of the figure in the page.
        gap: Gap over norm of the whole banks before and after, if the run measured it.
    """
    from plotly.subplots import make_subplots

    before = sets["source"], sets["target"]
    after = sets["source_rectified"], sets["target_rectified"]
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
        _points(figure, 1, column, plane.project(source), plane.project(target), column == 1)
    one, two = (
        f"PCA {i} ({share:.0%} of the variance)" for i, share in enumerate(plane.explained, 1)
    )
    figure.update_xaxes(title_text=one, showticklabels=True)
    figure.update_yaxes(title_text=two, col=1)
    return _rectification_said(before, after, plane, gap) + as_html(figure, name, height=480)


def _rectification_said(
    before: tuple[Rows, Rows],
    after: tuple[Rows, Rows],
    plane: Pca,
    gap: tuple[float, float] | None,
) -> str:
    rows = [
        (
            title,
            f"{gap_of_means(*of):.2f}",
            *(f"{mixing(*of, metric):.0%}" for metric in METRICS),
            f"{np.linalg.norm(np.concatenate(of), axis=1).mean():.1f}",
        )
        for title, of in (("before R", before), ("after R", after))
    ]
    head = (
        "source against target",
        "distance of means / mean norm",
        *_shares_of(METRICS),
        "mean norm",
    )
    whole = (
        f" Over the whole banks, the mean distance to the nearest row of the other domain is "
        f"{gap[0]:.2f} of the mean norm before R and {gap[1]:.2f} after it."
        if gap
        else ""
    )
    return (
        f"<p>The plane is fitted to the bank rows before rectification (R) and shows "
        f"{plane.explained.sum():.0%} of their variance; the table is measured on all channels. If "
        "both domains had the same distribution, "
        f"{mixed(len(before[0]), len(before[1])):.0%} of the nearest neighbours would be in the "
        f"other domain.{whole}</p>" + _table(head, rows)
    )


def _shares_of(metrics: Mapping[str, str]) -> list[str]:
    return [f"nearest neighbour in the other domain, {said}" for said in metrics.values()]


def _points(
    figure: "Figure", row: int, column: int, source: Plane, target: Plane, legend: bool
) -> None:
    from plotly.graph_objects import Scatter

    for domain, places in (("source", source), ("target", target)):
        figure.add_trace(
            Scatter(
                x=places[:, 0].round(3),
                y=places[:, 1].round(3),
                mode="markers",
                marker=MARKERS[domain],
                name=NAMES[domain],
                legendgroup=domain,
                showlegend=legend,
                hoverinfo="name",
            ),
            row=row,
            col=column,
        )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
