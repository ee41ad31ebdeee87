"""Scores over numbers of a method: curves and heat maps, holes left open."""

import re
from collections.abc import Iterable, Sequence

from fsad.report.figure import BLUE, INK, SCALE, as_html
from fsad.report.grid import METRICS, Grid, Place, grids, names_of
from fsad.report.markup import escape, paragraph
from fsad.report.section import Section
from fsad.results.record import RunResult
from fsad.results.table.rows import Cell
from fsad.results.table.settings import headings


def sweeps(results: Sequence[RunResult]) -> list[Section]:
    """Draw scores over the numbers of the method that runs vary, and nothing else.

    Args:
        results: Runs.

    Returns:
        For runs alike in all but numbers of their method, seeds and categories: a heat map where
        exactly two numbers vary, and for each number a curve at those numbers of the others at
        which most points lie. Empty where no number varies; runs that never vary one number alone
        have no curve.
    """
    found = grids(results)
    sections = []
    for number, (grid, about) in enumerate(zip(found, names_of(found), strict=True)):
        if len(grid.axes) == 2:
            name = _anchor(grid, grid.axes, number)
            html = paragraph(about) + heat_map_html(grid, f"{name}-map")
            title = f"Scores over {' and '.join(grid.labels.values())}"
            sections.append(Section(name, title, html))
        for axis in grid.axes:
            if grid.held(axis) is not None:
                name = _anchor(grid, [axis], number)
                html = paragraph(about) + curve_html(grid, axis, f"{name}-curve")
                sections.append(Section(name, f"Scores over {grid.labels[axis]}", html))
    return sections


def _anchor(grid: Grid, axes: Iterable[str], number: int) -> str:
    """Name a section after its axes, such as ``window-0``."""
    names = headings(grid.axes)
    words = "-".join([*(names[axis] for axis in axes), str(number)])
    return re.sub(r"[^a-z0-9]+", "-", words.lower())


def curve_html(grid: Grid, axis: str, name: str) -> str:
    """Draw metrics over one axis: mean and sample standard deviation over seeds.

    Args:
        grid: In which :meth:`Grid.held` finds where the others stay.
        axis: One of its axes.
        name: Of the figure in the page.
    """
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    at = grid.held(axis)
    assert at is not None
    if not (drawn := grid.drawn()):
        return _nothing(grid)
    labels = _labels(grid)
    figure = make_subplots(rows=1, cols=len(drawn), subplot_titles=list(drawn.values()))
    places = grid.line(axis, at)
    for column, metric in enumerate(drawn, 1):
        cells = [grid.cell(place, metric) for place in places]
        figure.add_trace(
            Scatter(
                x=grid.values(axis),
                y=[cell.mean for cell in cells],
                error_y={"array": [cell.std or 0 for cell in cells], "color": BLUE, "width": 4},
                mode="lines+markers",
                connectgaps=False,
                line={"color": BLUE, "width": 2},
                marker={"size": 7},
                customdata=[[_spread(cell), cell.n] for cell in cells],
                hovertemplate=(
                    f"{labels[axis]} = %{{x}}<br>%{{y:.4f}}%{{customdata[0]}}"
                    "<br>seeds: %{customdata[1]}<extra></extra>"
                ),
                showlegend=False,
            ),
            row=1,
            col=column,
        )
    figure.update_xaxes(title_text=labels[axis], nticks=6)
    figure.update_yaxes(autorangeoptions={"clipmin": 0, "clipmax": 1})
    figure.update_yaxes(title_text="AUROC", col=1)
    sentences = [_categories(grid)]
    if at:
        others = [f"{labels[other]} = {value:g}" for other, value in at.items()]
        sentences.append(f"At {', '.join(others)}.")
    sentences.append(_seeds(grid, places))
    if missing := _missing(grid, places):
        sentences.append(
            f"{missing} of {len(places)} values have no result: the line is broken there."
        )
    return _text(grid, sentences) + as_html(figure, name, height=380)


def heat_map_html(grid: Grid, name: str) -> str:
    """Draw the first axis against the second, one map per metric; holes are crossed out.

    Args:
        grid: With two axes.
        name: Of the figure in the page.
    """
    from plotly.graph_objects import Heatmap, Scatter
    from plotly.subplots import make_subplots

    if not (drawn := grid.drawn()):
        return _nothing(grid)
    across, up = (grid.values(axis) for axis in grid.axes)
    x_label, y_label = _labels(grid).values()
    figure = make_subplots(
        rows=1, cols=len(drawn), subplot_titles=list(drawn.values()), horizontal_spacing=0.11
    )
    columns, lines = ([f"{value:g}" for value in axis] for axis in (across, up))
    here = f"{x_label} = %{{x}}, {y_label} = %{{y}}<br>"
    for column, metric in enumerate(drawn, 1):
        cells = [[grid.cell((x, y), metric) for x in across] for y in up]
        domain = figure.layout[f"xaxis{column if column > 1 else ''}"].domain
        figure.add_trace(
            Heatmap(
                x=columns,
                y=lines,
                z=[[cell.mean for cell in line] for line in cells],
                customdata=[[[_spread(cell), cell.n] for cell in line] for line in cells],
                colorscale=SCALE,
                hoverongaps=False,
                xgap=1,
                ygap=1,
                colorbar={"x": domain[1] + 0.005, "thickness": 12, "tickformat": ".3f"},
                hovertemplate=(
                    f"{here}%{{z:.4f}}%{{customdata[0]}}"
                    "<br>seeds: %{customdata[1]}<extra></extra>"
                ),
            ),
            row=1,
            col=column,
        )
        holes = [
            (columns[x], lines[y])
            for y, line in enumerate(cells)
            for x, cell in enumerate(line)
            if cell.mean is None
        ]
        figure.add_trace(
            Scatter(
                x=[x for x, _ in holes],
                y=[y for _, y in holes],
                mode="markers",
                marker={"symbol": "x-thin", "size": 10, "line": {"color": INK, "width": 2}},
                hovertemplate=f"{here}no result<extra></extra>",
                showlegend=False,
            ),
            row=1,
            col=column,
        )
    figure.update_xaxes(title_text=x_label, type="category", categoryarray=columns, showgrid=False)
    figure.update_yaxes(type="category", categoryarray=lines, showgrid=False)
    figure.update_xaxes(tickfont_size=11)
    figure.update_yaxes(title_text=y_label, col=1)
    places = [(x, y) for y in up for x in across]
    sentences = [_categories(grid), _seeds(grid, places)]
    means = [grid.cell(place, "image_auroc").mean for place in places]
    if known := [mean for mean in means if mean is not None]:
        sentences.append(f"Image AUROC lies between {min(known):.3f} and {max(known):.3f}.")
    if missing := _missing(grid, places):
        sentences.append(f"{missing} of {len(places)} places have no result and are crossed out.")
    return _text(grid, sentences) + as_html(figure, name, height=420)


def _labels(grid: Grid) -> dict[str, str]:
    """Return the axes' labels as figures and HTML show them."""
    return {axis: escape(label) for axis, label in grid.labels.items()}


def _text(grid: Grid, sentences: Iterable[str]) -> str:
    """Return what stands above a figure: what is drawn, what is not, and what it is not for."""
    labels = " or ".join(_labels(grid).values())
    caution = f"These are test scores: choosing {labels} by them would be tuning on the test set."
    return f"<p>{' '.join([*sentences, *map(escape, grid.without()), caution])}</p>"


def _nothing(grid: Grid) -> str:
    """Say why there is no figure."""
    why = " ".join(map(escape, grid.without())) or "No run has a number."
    return f"<p>{_categories(grid)} {why}</p>"


def _spread(cell: Cell) -> str:
    return "" if cell.std is None else f" ± {cell.std:.4f}"


def _seeds(grid: Grid, places: Iterable[Place]) -> str:
    counts = {_most(grid, place) for place in places} - {0}
    if not counts:
        return "No seed has every category."
    least, most = min(counts), max(counts)
    if most == 1:
        return "One seed each: how much the numbers vary by chance is unknown."
    seeds = f"{most}" if least == most else f"{least} to {most}"
    return f"Mean ± sample standard deviation over {seeds} seeds."


def _missing(grid: Grid, places: Iterable[Place]) -> int:
    return sum(not _most(grid, place) for place in places)


def _most(grid: Grid, place: Place) -> int:
    """Return how many seeds have a number, of the metric that most have."""
    return max(grid.cell(place, metric).n for metric in METRICS)


def _categories(grid: Grid) -> str:
    names = sorted(grid.categories)
    if len(names) == 1:
        return f"Category {escape(names[0])}."
    return f"Mean over {len(names)} categories: {escape(', '.join(names))}."
