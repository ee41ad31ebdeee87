"""Paired differences between methods: a forest plot, the numbers, and what they mean."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fsad.metrics import METRICS
from fsad.report.figure import BLUE, INK, ORANGE, as_html
from fsad.report.markup import cell, notes, paragraph, table
from fsad.report.metric_names import NAMES
from fsad.report.section import Section
from fsad.results.table import Comparison, Difference

DRAWN = ("image_auroc", "pixel_auroc_part", "aupro30")
"""One metric of images, one of pixels, one of regions; the table has all five."""
CLEAR, UNCLEAR, SINGLE = BLUE, INK, ORANGE
ROW, FRAME = 30, 96  # pixels: of a difference; of a metric's heading and axis


def forest(comparison: Comparison) -> list[Section]:
    """Show how much every method differs from the reference."""
    reference = comparison.reference
    html = paragraph(
        f"Each method minus {reference} on the same shots and test images; right of 0 it is "
        "better. Bars are 95 % bootstrap intervals: for the image AUROC over the choice of shots "
        "and of test images, for pixel metrics over the choice of shots only. They hold for these "
        "categories; others may differ."
    )
    if comparison.differences:
        html += _figure(comparison) + _table(comparison)
    title = f"Differences from {reference}"
    return [Section("differences", title, html + notes(_said(comparison)))]


def label(difference: Difference) -> str:
    """Call an experiment by all that the table says of it."""
    labels = difference.labels
    rest = [f"{k} {v}" for k, v in labels.items() if k not in ("method", "backbone", "dataset")]
    return f"{labels['method']} ({', '.join([labels['backbone'], *rest])})"


def _figure(comparison: Comparison) -> str:
    drawn = [metric for metric in DRAWN if any(d.metric == metric for d in comparison.differences)]
    rows = len({each.experiment for each in comparison.differences})
    figure = make_subplots(
        rows=len(drawn), cols=1, subplot_titles=[NAMES[metric] for metric in drawn]
    )
    for place, metric in enumerate(drawn, start=1):
        for each in [each for each in comparison.differences if each.metric == metric][::-1]:
            figure.add_trace(_bar(each), row=place, col=1)
        figure.add_vline(x=0, line={"color": INK, "width": 1}, row=place, col=1)
    figure.update_yaxes(automargin=True, range=[-0.6, rows - 0.4])
    figure.update_layout(showlegend=False)
    html = as_html(figure, "forest", height=len(drawn) * (ROW * rows + FRAME))
    return f'<div role="img" aria-label="Forest plot; its numbers are in the table">{html}</div>'


def _bar(each: Difference) -> go.Scatter:
    low, high = each.interval or (each.mean, each.mean)
    colour = SINGLE if each.interval is None else CLEAR if each.is_clear else UNCLEAR
    return go.Scatter(
        x=[each.mean],
        y=[_plain(label(each))],
        error_x={"type": "data", "array": [high - each.mean], "arrayminus": [each.mean - low]},
        mode="markers",
        marker={"size": 10, "color": colour, "symbol": "diamond"},
        hovertemplate=f"{_numbers(each)}<extra></extra>",
    )


def _plain(text: str) -> str:
    """Keep plotly from reading tags in a text."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _table(comparison: Comparison) -> str:
    by_experiment: dict[str, dict[str, Difference]] = {}
    for each in comparison.differences:
        by_experiment.setdefault(each.experiment, {})[each.metric] = each
    lines = []
    for by_metric in by_experiment.values():
        first = max(by_metric.values(), key=lambda each: each.cells)  # some lack a metric
        counts = [cell(str(first.cells), "number"), cell(str(first.images), "number")]
        numbers = [
            cell(_numbers(by_metric[metric]), "number", by_metric[metric].mean)
            if metric in by_metric
            else cell("–", "number")
            for metric in METRICS
        ]
        lines.append([cell(label(first)), *counts, *numbers])
    names = ["method", "pairs", "test images", *NAMES.values()]
    return table(f"Difference from {comparison.reference}, with its interval", names, lines)


def _numbers(each: Difference) -> str:
    if each.interval is None:
        return f"{each.mean:+.3f} [?]"
    return f"{each.mean:+.3f} [{each.interval[0]:+.3f}, {each.interval[1]:+.3f}]"


def _said(comparison: Comparison) -> list[str]:
    """Say in plain words which differences mean nothing."""
    unclear: dict[str, list[str]] = {}
    single: dict[str, list[str]] = {}
    for each in comparison.differences:
        if each.interval is None:
            single.setdefault(label(each), []).append(NAMES[each.metric])
        elif not each.is_clear:
            unclear.setdefault(label(each), []).append(NAMES[each.metric])
    return [
        *(
            f"{name}: the difference is not statistically significant (the interval includes 0) in "
            f"{', '.join(metrics)}."
            for name, metrics in unclear.items()
        ),
        *(
            f"{name}: no interval in {', '.join(metrics)}, because there is only one draw of the "
            "shots."
            for name, metrics in single.items()
        ),
        *(f"{why}." for why in comparison.left_out),
    ]
