"""What a benchmark found: rows of one table, written as JSON and Markdown."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.timing import Timing

MB = 2**20


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        item: What was measured.
        size: On how much.
        result: The finding in words, a ratio wherever there is something to compare with.
        value: The number in ``result``.
        requirement: What it must reach, or empty.
        met: Whether it does; ``None`` without a requirement.
        ours: Median of ours, with its unit.
        reference: Median of what it is compared with, with its unit.
        note: How it was measured, where that is not plain.
    """

    item: str
    size: str
    result: str
    value: float
    requirement: str = ""
    met: bool | None = None
    ours: str = ""
    reference: str = ""
    note: str = ""


def faster(
    item: str,
    size: str,
    against: str,
    ours: Timing,
    theirs: Timing,
    at_least: float | None = None,
) -> Row:
    """Say how many times faster than something else ours is, by medians."""
    ratio = theirs.median / ours.median
    note = "; ".join(dict.fromkeys(note for note in (ours.note, theirs.note) if note))
    row = _times(item, size, ratio, f"as fast as {against}", ours, theirs, note)
    if at_least is None:
        return row
    need = "faster" if at_least == 1 else f"≥ {at_least:g} ×"
    return replace(row, requirement=need, met=ratio >= at_least)


def within(
    item: str,
    size: str,
    against: str,
    ours: Timing,
    theirs: Timing,
    at_most: float | None = None,
    note: str = "",
) -> Row:
    """Say how many times the time of something that cannot be avoided ours takes, by medians."""
    ratio = ours.median / theirs.median
    row = _times(item, size, ratio, f"the time of {against}", ours, theirs, note)
    if at_most is None:
        return row
    return replace(row, requirement=f"≤ {at_most:g} ×", met=ratio <= at_most)


def _times(
    item: str, size: str, ratio: float, of_what: str, ours: Timing, theirs: Timing, note: str
) -> Row:
    """Make a ratio of two medians a line without a requirement."""
    return Row(
        item,
        size,
        f"{_short(ratio)} × {of_what}",
        ratio,
        ours=seconds_in_words(ours.median),
        reference=seconds_in_words(theirs.median),
        note=note,
    )


def limit(
    item: str, size: str, what: str, value: float, unit: str, at_most: float, note: str = ""
) -> Row:
    """Say a quantity that has an upper limit of its own; ``what`` has braces in its place."""
    shown = f"{_short(value)} {unit}".rstrip()
    return Row(
        item,
        size,
        what.format(shown),
        value,
        f"≤ {at_most:g} {unit}".rstrip(),
        value <= at_most,
        shown,
        note=note,
    )


def check(item: str, size: str, what: str, holds: bool, note: str = "") -> Row:
    """Say whether something that must hold does."""
    return Row(
        item, size, what if holds else f"NOT: {what}", float(holds), "holds", holds, note=note
    )


def same_work(what: str, theirs: float, ours: float) -> None:
    """Refuse to compare the times of different work.

    Raises:
        ValueError: The two results differ by more than a thousandth.
    """
    if not abs(theirs - ours) <= 1e-3 * abs(ours):
        raise ValueError(f"{what}: expected {ours:.6g}, as ours, got {theirs:.6g}")


def seconds_in_words(value: float) -> str:
    """Write a duration in the unit that suits it."""
    return f"{_short(value)} s" if value >= 1 else f"{_short(1000 * value)} ms"


def _short(value: float) -> str:
    """Write a number with three digits, small ones as powers of ten."""
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write one item's findings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def item_record(
    machine: Mapping[str, Any],
    rows: Iterable[Row],
    timings: Mapping[str, Mapping[str, Timing]],
    series: Mapping[str, Any],
) -> dict[str, Any]:
    """Gather what one item's JSON file holds."""
    return {
        "machine": dict(machine),
        "rows": [asdict(row) for row in rows],
        "seconds": {
            race: {
                name: {
                    "median": timing.median,
                    "min": timing.least,
                    "runs": list(timing.seconds),
                    "note": timing.note,
                }
                for name, timing in contenders.items()
            }
            for race, contenders in timings.items()
        },
        "series": dict(series),
    }


def markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """Write the table of all records, and below it where and how they were measured."""
    head = ("item", "size", "result", "must reach", "met", "ours", "compared with", "how")
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    runs: list[str] = []
    for record in records:
        for row in record["rows"]:
            met = {None: "–", True: "yes", False: "**no**"}[row["met"]]
            cells = [row["item"], row["size"], f"**{row['result']}**", row["requirement"] or "–"]
            cells += [met, row["ours"] or "–", row["reference"] or "–", row["note"]]
            lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
        runs.append(_where(record["machine"]))
    return "\n".join([*lines, "", *dict.fromkeys(runs), ""])


def _where(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    chip = ", ".join(machine["instructions"])
    device = f"; {machine['gpu']}" if machine["gpu"] else ""
    quick = " Quick sizes: the ratios mean nothing." if machine["scale"] != "full" else ""
    return (
        f"Measured {machine['date']} at {machine['git']} on {machine['cpu']} with {chip}, "
        f"{machine['cores']} cores, {machine['threads']} threads{device}; {versions}. Contenders "
        f"took turns in one run; ratios are of medians.{quick}"
    )
