"""The table of results, and the paper's beside it."""

from collections.abc import Iterable

from fsad.metrics import METRICS
from fsad.report.comparable import reasons
from fsad.report.markup import cell, notes, paragraph, table
from fsad.report.metric_names import NAMES
from fsad.report.section import Section
from fsad.results.record import RunResult
from fsad.results.table import Cell, Row, Runs, Table
from fsad.results.table import table as tabulate
from fsad.results.table.paper import Printed, is_about
from fsad.results.table.settings import ALWAYS, settings_of

NOTE = (
    "The paper's numbers are image AUROC on the whole test set with DINO ViT-B/8. Its draw of the "
    "shots is unknown and its preparation of the data is not described, so these two always differ."
)


def results(runs: Runs) -> list[Section]:
    """Show the five metrics of every category and kind of score, and their mean."""
    content = tabulate(runs)
    common = {
        heading: values.pop()
        for heading in content.headings
        if heading not in ("category", "score")
        and len(values := {row.labels[heading] for row in content.rows}) == 1
    }
    html = paragraph(" · ".join(f"{name} {value}" for name, value in common.items()), "facts")
    html += _table(content, [name for name in content.headings if name not in common])
    html += notes(content.notes)
    html += _paper(content, runs.results)
    return [Section("results", "Results", html)]


def _table(content: Table, headings: list[str]) -> str:
    several = any(row.expected > 1 for row in content.rows)
    lines = []
    for row in content.rows:
        kind = "" if row.labels["score"] == "fused" else "quiet"
        labels = [cell(row.labels[heading], kind) for heading in headings]
        count = [cell(f"{row.n}/{row.expected}", "number")] if several else []
        lines.append([*labels, *count, *(_number(row, metric) for metric in METRICS)])
    names = [*headings, *(["seeds"] if several else []), *NAMES.values()]
    return table("Five metrics by category and kind of score; higher is better", names, lines)


def _number(row: Row, metric: str) -> str:
    found = row.cells.get(metric)
    if found is None:
        return cell("missing", "number")
    if found.mean is None:
        return cell("–", "number", about=row.reasons.get(metric, ""))
    return cell(_text(found, row.partial.get(metric, "")), "number", found.mean)


def _text(found: Cell, partial: str) -> str:
    few = f" ({partial})" if partial else ""
    return f"{found.mean:.3f}" + ("" if found.std is None else f" ± {found.std:.3f}") + few


def _paper(content: Table, runs: Iterable[RunResult]) -> str:
    """Show the paper's row for each of ours of the same data set, protocol, shots and category."""
    if not content.printed:
        return ""
    methods = list(dict.fromkeys(each.method for each in content.printed))
    lines = []
    for row in content.rows:
        labels = row.labels
        if labels["score"] != "fused" or not (row.cells and row.printed):
            continue
        why = _why(labels, runs)
        lines.append(
            [
                cell(f"{labels['method']} ({labels['backbone']})"),
                cell(labels["category"]),
                cell(labels["shots"], "number"),
                _number(row, "image_auroc"),
                *(_printed(row.printed.get(method)) for method in methods),
                cell("not comparable: " + "; ".join(why) if why else "comparable", "why"),
            ]
        )
    names = ["here", "category", "shots", "image AUROC here", *(f"{it}, paper" for it in methods)]
    caption = "The paper's Table 1, image AUROC, beside the same data set, shots and category"
    shown = table(caption, [*names, "comparable?"], lines)
    return f"<h3>Beside the paper</h3>{shown}{notes([NOTE])}"


def _why(labels: dict[str, str], runs: Iterable[RunResult]) -> list[str]:
    """Gather the reasons of all runs behind a row, each once."""
    found: dict[str, None] = {}
    for result in runs:
        settings = settings_of(result)
        if is_about(settings) and all(str(settings[name]) == labels[name] for name in ALWAYS):
            mean = labels["category"] == "mean"
            for name in result.categories if mean else [labels["category"]]:
                found |= dict.fromkeys(reasons(result, name))
    return list(found)


def _printed(each: Printed | None) -> str:
    if each is None:
        return cell("–", "number")
    number = "–" if each.image_auroc is None else f"{each.image_auroc:.3f}"
    return cell(f"{number} ({each.note})" if each.note else number, "number")
