"""The table as Markdown, as CSV and on the terminal."""

import csv
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from fsad.errors import printable
from fsad.metrics import METRICS
from fsad.results.table import paper
from fsad.results.table.collect import Runs
from fsad.results.table.paired import Comparison, Difference
from fsad.results.table.rows import Row, Table, table
from fsad.storage.csv_cells import guarded
from fsad.storage.tensors import make_folder, write_text

MISSING = "missing"
WIDTH = 140  # columns, where the output is no terminal


def _seeds(row: Row) -> str:
    return str(row.n) if row.n == row.expected else f"{row.n}/{row.expected}"


def _number(row: Row, metric: str) -> str:
    """Return "mean ± std"; with how many categories and seeds are behind it, where not all."""
    cell = row.cells.get(metric)
    if cell is None:
        return MISSING
    if cell.mean is None:
        return "–"
    spread = "" if cell.std is None else f" ± {cell.std:.3f}"
    few = f" ({row.partial[metric]})" if metric in row.partial else ""
    return f"{cell.mean:.3f}{spread}{few}" + ("" if cell.n == row.n else f" (n={cell.n})")


def _lines(content: Table) -> list[list[str]]:
    """Return the headings and every row as text for people."""
    lines = [[*content.headings, "n", *METRICS]]
    for row in content.rows:
        labels = [row.labels[heading] for heading in content.headings]
        lines.append([*labels, _seeds(row), *(_number(row, metric) for metric in METRICS)])
    return lines


def markdown(content: Table) -> str:
    """Return the table as Markdown, its notes and what the paper printed below."""
    text = _markdown_table(_lines(content), len(content.headings), content.notes)
    if content.printed:
        below = _markdown_table(paper.lines(content.printed), 2, [paper.NOTE])
        text += f"\n**{paper.TITLE}**\n\n{below}"
    return text


def _markdown_table(lines: list[list[str]], labels: int, notes: Sequence[str]) -> str:
    """Return lines as a Markdown table: so many columns of text, then numbers; notes below."""
    head, *body = (
        [_escaped(cell) if place < labels else cell for place, cell in enumerate(line)]
        for line in lines
    )
    rule = ["---"] * labels + ["---:"] * (len(head) - labels)
    text = "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))
    return f"{text}\n\n" + "\n".join(f"- {_escaped(note)}" for note in notes) + "\n"


def _escaped(text: str) -> str:
    """Let Markdown show a text as it is: one line, no table's border, code, link, picture or HTML.

    Underscores stay, which within words mean nothing.
    """
    for sign in "\\|`*[":
        text = text.replace(sign, f"\\{sign}")
    return printable(escape(text, quote=False))


def comma_separated(content: Table) -> str:
    """Return the table as CSV: mean and standard deviation in columns of their own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    numbers = [name for metric in METRICS for name in (metric, f"{metric}_std")]
    writer.writerow([guarded(cell) for cell in (*content.headings, "n", "n_expected", *numbers)])
    for row in content.rows:
        line = [*(row.labels[heading] for heading in content.headings), row.n, row.expected]
        for metric in METRICS:
            cell = row.cells.get(metric)
            if cell is None:
                line += [MISSING, ""]
            else:
                line += ["" if part is None else f"{part:.3f}" for part in (cell.mean, cell.std)]
        writer.writerow([guarded(cell) for cell in line])
    return text.getvalue()


CHANCE = "~"  # before a difference that is not statistically significant


def _differences(comparison: Comparison) -> list[list[str]]:
    """Return headings and one line per experiment, as text for people."""
    by_experiment: dict[str, list[Difference]] = {}
    for each in comparison.differences:
        by_experiment.setdefault(each.experiment, []).append(each)
    headings = list(comparison.differences[0].labels) if comparison.differences else []
    lines = [[*headings, "pairs", "test images", *METRICS]]
    for of_experiment in by_experiment.values():
        first = max(of_experiment, key=lambda each: each.cells)  # some lack a metric
        found = {each.metric: each for each in of_experiment}
        cells = [_difference(found.get(metric)) for metric in METRICS]
        lines.append([*first.labels.values(), str(first.cells), str(first.images), *cells])
    return lines


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return "–"
    if difference.interval is None:
        return f"{difference.mean:+.3f} [?]"
    mark = "" if difference.is_clear else f"{CHANCE} "
    low, high = difference.interval
    return f"{mark}{difference.mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def _difference_notes(comparison: Comparison) -> list[str]:
    """Return what a reader of the differences must know."""
    notes = [
        f"Difference from {comparison.reference} on the same shots and test images; above 0 is "
        "better. In brackets the 95 % bootstrap interval over the choice of shots, for image_auroc "
        "of test images too. It holds for these categories; others may differ. [?]: only one "
        "draw of the shots, so no interval."
    ]
    unclear: dict[str, list[Difference]] = {}
    for each in comparison.differences:
        if each.interval is not None and not each.is_clear:
            unclear.setdefault(each.experiment, []).append(each)
    for found in unclear.values():
        labels = found[0].labels
        notes.append(
            f"{CHANCE} {labels['method']} ({labels['backbone']}), {labels['shots']} shots: not "
            f"statistically significant in {', '.join(each.metric for each in found)}."
        )
    return notes + [f"{why}." for why in comparison.left_out]


def write_differences(path: Path, comparison: Comparison) -> Path:
    """Write paired differences as Markdown, their notes below.

    Args:
        path: A folder, for ``differences.md`` in it; or what :func:`write_table` was given.
        comparison: What :func:`fsad.results.table.compare` found.

    Raises:
        OutputError: The folder or the file cannot be written.
    """
    is_file = path.suffix in {".md", ".csv"}
    file = path.with_name(f"{path.stem}-differences.md") if is_file else path / "differences.md"
    make_folder(file.parent, "table")
    lines = _differences(comparison)
    labels = len(lines[0]) - len(METRICS) - 2
    write_text(file, _markdown_table(lines, labels, _difference_notes(comparison)))
    return file


def print_differences(comparison: Comparison, console: Console | None = None) -> None:
    """Show paired differences on the terminal, their notes below.

    Args:
        comparison: What :func:`fsad.results.table.compare` found.
        console: Where to; standard output if omitted.
    """
    target = console or Console()
    if not target.is_terminal:
        target = Console(file=target.file, width=WIDTH + 60)
    head, *body = _differences(comparison)
    headings = [heading.replace("_", " ") for heading in head]
    shown = Grid(*headings, box=box.SIMPLE, title=f"differences from {comparison.reference}")
    for line in body:
        shown.add_row(*map(Text, line))
    target.print(shown)
    for note in _difference_notes(comparison):
        target.print(Text(f"- {note}"))


def write_table(path: Path, runs: Runs) -> tuple[Path, Path]:
    """Write the table as Markdown and as CSV.

    Args:
        path: A folder, for ``table.md`` and ``table.csv`` in it; or a file ending in ``.md`` or
            ``.csv``, for both files of that name.
        runs: What :func:`fsad.results.table.collect` found.

    Returns:
        The Markdown file and the CSV file.

    Raises:
        OutputError: The folder or a file cannot be written.
    """
    stem = path.with_suffix("") if path.suffix in {".md", ".csv"} else path / "table"
    make_folder(stem.parent, "table")
    content = table(runs)
    files = stem.with_name(f"{stem.name}.md"), stem.with_name(f"{stem.name}.csv")
    write_text(files[0], markdown(content))
    write_text(files[1], comma_separated(content))
    return files


def print_table(runs: Runs, console: Console | None = None) -> None:
    """Show the table on the terminal, its notes below.

    Args:
        runs: What :func:`fsad.results.table.collect` found.
        console: Where to; standard output if omitted.
    """
    content = table(runs)
    head, *body = _lines(content)
    common, varied = _split_labels(content)
    target = console or Console()
    if not target.is_terminal:
        target = Console(file=target.file, width=WIDTH)  # a file or a pipe has room
    shown = Grid(box=box.SIMPLE)
    for position, heading in enumerate(head):
        if position in varied:
            shown.add_column(Text(heading))
        elif position >= len(content.headings):
            shown.add_column(Text(heading.replace("_", " ")), justify="right")
    for line in body:
        cells = [
            cell
            for position, cell in enumerate(line)
            if position in varied or position >= len(content.headings)
        ]
        shown.add_row(*map(Text, cells))
    if common:
        target.print(Text("\n" + " · ".join(common)))
    target.print(shown)
    for note in content.notes:
        target.print(Text(f"- {note}"))
    if content.printed:
        head, *body = paper.lines(content.printed)
        printed = Grid(*head, box=box.SIMPLE, title=paper.TITLE)
        for line in body:
            printed.add_row(*map(Text, line))
        target.print(printed)
        target.print(Text(f"- {paper.NOTE}"))


def _split_labels(content: Table) -> tuple[list[str], set[int]]:
    """Separate what all rows share, as ``name value``, from the columns in which they differ."""
    common: list[str] = []
    varied: set[int] = set()
    for position, heading in enumerate(content.headings):
        values = {row.labels[heading] for row in content.rows}
        if len(values) == 1 and heading != "score":
            common.append(f"{heading} {values.pop()}")
        else:
            varied.add(position)
    return common, varied
