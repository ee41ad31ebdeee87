"""Samples of features that stages kept for figures, and how two domains of them are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fsad.report.closeness import Rows
from fsad.report.figure import BLUE, ORANGE
from fsad.report.markup import escape, paragraph
from fsad.report.projections import Plane
from fsad.results.feature_samples import read_embeddings
from fsad.results.record import RunResult
from fsad.results.table.settings import settings_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

METRICS = {"euclidean": "L2", "cosine": "cosine"}
"""By what features are near each other, and what people call it."""
MARKERS = {
    "source": {"color": BLUE, "symbol": "circle", "size": 5, "opacity": 0.75},
    "target": {"color": ORANGE, "symbol": "diamond", "size": 6, "opacity": 0.75},
}


@dataclass(frozen=True)
class StageFeatures:
    """What one stage kept of one category.

    Attributes:
        stage: Its name.
        category: The object.
        result: The run whose features they are, the first that kept some.
        sets: Features ``(r, c)`` by the name of the set.
        others: How many further runs kept some of the same stage and category.
    """

    stage: str
    category: str
    result: RunResult
    sets: Mapping[str, Rows]
    others: int

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """What the stage said about itself in the same run; empty if nothing."""
        said: Mapping[str, float] = self.result.categories[self.category].diagnostics.get(
            self.stage, {}
        )
        return said

    def origin(self) -> str:
        """Say whose features they are, as HTML."""
        result, others = self.result, self.others
        runs = "1 other run" if others == 1 else f"{others} other runs"
        more = f"; {runs} kept features of the category too" if others else ""
        shots = settings_of(result)["shots"]
        return paragraph(
            f"{result.method}, {shots} shots, seed {result.seed}, run {result.path.parent}{more}."
        )

    def domains(self) -> dict[str, str]:
        """Return what source and target are in the run, as a legend says it."""
        settings = settings_of(self.result)
        source, target = (
            str(settings.get(f"protocol.{name}")).replace("rgb", "RGB")
            for name in ("source_modality", "modality")
        )
        return {"source": f"source ({source})", "target": f"target ({target} of the shots)"}


def kept_features(results: Sequence[RunResult]) -> list[StageFeatures]:
    """Read the samples of features that runs kept: of each stage and category, the first run's.

    Args:
        results: Runs; each one's samples lie beside its ``result.json``.

    Raises:
        DataError: A run's samples are damaged.
    """
    first: dict[tuple[str, str], tuple[RunResult, dict[str, Rows]]] = {}
    counts: dict[tuple[str, str], int] = {}
    for result in results:
        for category in result.categories:
            stages: dict[str, dict[str, Rows]] = {}
            samples = read_embeddings(result.path.parent / "categories" / category)
            for name, rows in samples.items():
                stage, _, of = name.partition(".")
                stages.setdefault(stage, {})[of] = rows.numpy()
            for stage, sets in stages.items():
                first.setdefault((stage, category), (result, sets))
                counts[stage, category] = counts.get((stage, category), 0) + 1
    return [
        StageFeatures(stage, category, result, sets, counts[stage, category] - 1)
        for (stage, category), (result, sets) in first.items()
    ]


def add_points(
    figure: "Figure",
    row: int,
    column: int,
    places: tuple[Plane, Plane],
    domains: Mapping[str, str],
    legend: bool,
) -> None:
    """Add the points of source and target to a panel of a figure.

    Args:
        figure: It is changed.
        row: Of the panel, from 1.
        column: Of the panel, from 1.
        places: Of the source and of the target, ``(r, 2)`` each.
        domains: Their names in the legend.
        legend: Whether the panel's points stand in the legend.
    """
    from plotly.graph_objects import Scatter

    for (domain, name), points in zip(domains.items(), places, strict=True):
        figure.add_trace(
            Scatter(
                x=points[:, 0].round(3),
                y=points[:, 1].round(3),
                mode="markers",
                marker=MARKERS[domain],
                name=name,
                legendgroup=domain,
                showlegend=legend,
                hoverinfo="name",
            ),
            row=row,
            col=column,
        )


def measures(*more: str) -> list[str]:
    """Return the headings of :func:`numbers`, and further ones."""
    nearest = [f"nearest neighbour in the other domain, {name}" for name in METRICS.values()]
    return ["source against target", "distance of means / mean norm", *nearest, *more]


def numbers(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a small table of text as HTML."""
    heads = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
