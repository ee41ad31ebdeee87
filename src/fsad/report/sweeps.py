"""Runs over alpha and beta: metric by metric, mean and spread over seeds, holes left open."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from fsad.report.figure import BLUE, INK, SCALE, as_html
from fsad.results.record import CategoryResult, RunResult
from fsad.results.table.rows import Cell, having, mean_of
from fsad.results.table.settings import identity, settings_of, shown

METRICS = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "pixel_auroc_part": "in-part pixel AUROC",
}
AXES = ("method.alpha", "method.beta")
SAID = {"method.alpha": "α", "method.beta": "β"}
PAPER = {"method.alpha": 0.3, "method.beta": 0.6}
"""HyperTrans' own values, and the defaults here; a curve over one is drawn at the other's."""

CAUTION = "These are test scores: choosing α or β by them would be tuning on the test set."

Place = tuple[float, float]
"""alpha, beta."""


@dataclass
class Grid:
    """Runs that differ in alpha, beta, seed and category alone.

    Attributes:
        settings: What they have in common, alpha and beta left out.
        runs: Categories' results by alpha and beta, then seed.
        categories: All that any of the runs has or should have.
    """

    settings: dict[str, Any]
    runs: dict[Place, dict[int, dict[str, CategoryResult]]] = field(default_factory=dict)
    categories: set[str] = field(default_factory=set)

    def values(self, axis: str) -> list[float]:
        """Return the values that the runs have of alpha or of beta, in increasing order."""
        return sorted({place[AXES.index(axis)] for place in self.runs})

    def cell(self, place: Place, metric: str) -> Cell:
        """Average a metric over seeds, each seed's number being its mean over categories.

        Categories without the metric in any run are left out. A seed that lacks one of the
        categories, or the metric in one of the others, does not count: its mean would be of another
        kind. The cell is empty where no seed is left.
        """
        have = self.having(metric)
        return Cell.over(
            mean_of(results[name].fused.get(metric) for name in have)
            for results in self.runs.get(place, {}).values()
            if results.keys() == self.categories
        )

    def having(self, metric: str) -> list[str]:
        """Name the categories in which any run has the metric."""
        return having((it for seeds in self.runs.values() for it in seeds.values()), metric)

    def drawn(self) -> dict[str, str]:
        """Return the metrics that any run has, with what people call them."""
        return {metric: name for metric, name in METRICS.items() if self.having(metric)}

    def without(self) -> list[str]:
        """Say which metrics are undefined where, and why, one sentence each."""
        sentences: dict[str, None] = {}
        for seeds in self.runs.values():
            for results in seeds.values():
                for name, result in results.items():
                    for metric, reason in result.undefined.items():
                        if metric in METRICS:
                            of = f"{METRICS[metric]} is undefined in {name}: {reason}."
                            sentences[of] = None
        return list(sentences)


def grids(results: Iterable[RunResult]) -> list[Grid]:
    """Sort runs into grids; runs of a method without alpha and beta belong to none.

    Returns:
        Grids in which alpha or beta varies.
    """
    found: dict[str, Grid] = {}
    for result in results:
        settings = settings_of(result)
        place = settings.pop(AXES[0], None), settings.pop(AXES[1], None)
        if None in place:
            continue
        grid = found.setdefault(identity(settings), Grid(settings))
        seeds = grid.runs.setdefault((float(place[0]), float(place[1])), {})
        seeds.setdefault(result.seed, {}).update(result.categories)
        grid.categories |= result.categories.keys() | result.failed.keys()
    return [grid for grid in found.values() if len(grid.runs) > 1]


def names_of(several: Sequence[Grid]) -> list[str]:
    """Tell grids apart: data set, method, shots and whatever else they differ in."""
    headings = shown([grid.settings for grid in several]) if several else {}
    return [
        ", ".join(
            f"{head} {grid.settings[name]}"
            for name, head in headings.items()
            if name in grid.settings
        )
        for grid in several
    ]


def held(grid: Grid, axis: str) -> float | None:
    """Choose where a curve over ``axis`` is drawn: the value of the other that stays.

    The paper's value if the runs vary the axis there, else the one with the most points, the
    smallest of several.

    Returns:
        The other's value, or None if the runs do not vary the axis anywhere.
    """
    place, other = AXES.index(axis), next(it for it in AXES if it != axis)
    points = {
        value: len({it[place] for it in grid.runs if it[1 - place] == value})
        for value in grid.values(other)
    }
    if points.get(PAPER[other], 0) > 1:
        return PAPER[other]
    best = max(points, key=lambda value: points[value])
    return best if points[best] > 1 else None


def curve_html(grid: Grid, axis: str, name: str) -> str:
    """Draw metrics over alpha or beta: mean and sample standard deviation over seeds.

    Args:
        grid: In which :func:`held` finds a value.
        axis: ``method.alpha`` or ``method.beta``.
        name: Of the figure in the page.
    """
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    at = held(grid, axis)
    assert at is not None
    other = next(it for it in AXES if it != axis)
    if not (drawn := grid.drawn()):
        return _nothing(grid)
    figure = make_subplots(rows=1, cols=len(drawn), subplot_titles=list(drawn.values()))
    values = grid.values(axis)
    places = [(value, at) if axis == AXES[0] else (at, value) for value in values]
    for column, metric in enumerate(drawn, 1):
        cells = [grid.cell(place, metric) for place in places]
        figure.add_trace(
            Scatter(
                x=values,
                y=[cell.mean for cell in cells],
                error_y={"array": [cell.std or 0 for cell in cells], "color": BLUE, "width": 4},
                mode="lines+markers",
                connectgaps=False,
                line={"color": BLUE, "width": 2},
                marker={"size": 7},
                customdata=[[_spread(cell), cell.n] for cell in cells],
                hovertemplate=(
                    f"{SAID[axis]} = %{{x}}<br>%{{y:.4f}}%{{customdata[0]}}"
                    "<br>seeds: %{customdata[1]}<extra></extra>"
                ),
                showlegend=False,
            ),
            row=1,
            col=column,
        )
    figure.update_xaxes(title_text=SAID[axis], nticks=6)
    figure.update_yaxes(autorangeoptions={"clipmin": 0, "clipmax": 1})
    figure.update_yaxes(title_text="AUROC", col=1)
    said = [f"{_categories(grid)} At {SAID[other]} = {at:g}.", _seeds(grid, places)]
    if missing := _missing(grid, places):
        said.append(f"{missing} of {len(places)} values have no result: the line is broken there.")
    said += map(escape, grid.without())
    return f"<p>{' '.join(said)} {CAUTION}</p>" + as_html(figure, name, height=380)


def heat_map_html(grid: Grid, name: str) -> str:
    """Draw alpha against beta, one map per metric; a place without a number is crossed out.

    Args:
        grid: In which both vary.
        name: Of the figure in the page.
    """
    from plotly.graph_objects import Heatmap, Scatter
    from plotly.subplots import make_subplots

    alphas, betas = (grid.values(axis) for axis in AXES)
    if not (drawn := grid.drawn()):
        return _nothing(grid)
    figure = make_subplots(
        rows=1, cols=len(drawn), subplot_titles=list(drawn.values()), horizontal_spacing=0.11
    )
    columns, lines = ([f"{value:g}" for value in axis] for axis in (alphas, betas))
    for column, metric in enumerate(drawn, 1):
        cells = [[grid.cell((alpha, beta), metric) for alpha in alphas] for beta in betas]
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
                    "α = %{x}, β = %{y}<br>%{z:.4f}%{customdata[0]}"
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
                hovertemplate="α = %{x}, β = %{y}<br>no result<extra></extra>",
                showlegend=False,
            ),
            row=1,
            col=column,
        )
    figure.update_xaxes(title_text="α", type="category", categoryarray=columns, showgrid=False)
    figure.update_yaxes(type="category", categoryarray=lines, showgrid=False)
    figure.update_xaxes(tickfont_size=11)
    figure.update_yaxes(title_text="β", col=1)
    places = [(alpha, beta) for beta in betas for alpha in alphas]
    said = [_categories(grid), _seeds(grid, places)]
    means = [grid.cell(place, "image_auroc").mean for place in places]
    if known := [mean for mean in means if mean is not None]:
        said.append(f"Image AUROC lies between {min(known):.3f} and {max(known):.3f}.")
    if missing := _missing(grid, places):
        said.append(f"{missing} of {len(places)} places have no result and are crossed out.")
    said += map(escape, grid.without())
    return f"<p>{' '.join(said)} {CAUTION}</p>" + as_html(figure, name, height=420)


def _nothing(grid: Grid) -> str:
    """Say why there is no figure."""
    why = " ".join(map(escape, grid.without())) or "No run has a number."
    return f"<p>{_categories(grid)} {why}</p>"


def varies(grid: Grid) -> bool:
    """Tell whether both alpha and beta vary."""
    return all(len(grid.values(axis)) > 1 for axis in AXES)


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
