"""Text and tables as HTML; whatever is text is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["cell", "escape", "notes", "paragraph", "table"]


def paragraph(text: str, kind: str = "") -> str:
    """Return one paragraph of plain text; ``kind`` is its class in the style sheet."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def notes(lines: Iterable[str]) -> str:
    """Return a list of plain sentences; nothing for none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="notes">{items}</ul>' if items else ""


def cell(text: str, kind: str = "", value: float | None = None, about: str = "") -> str:
    """Return a table's cell of plain text.

    Args:
        text: What is shown.
        kind: Its class in the style sheet.
        value: The number behind a rounded text, in full, for whoever points at it.
        about: Where there is no number, plain text of why, for whoever points at it.
    """
    exact = "" if value is None else f' data-value="{value!r}" title="{value!r}"'
    exact += f' title="{escape(about, quote=True)}"' if about else ""
    return f"<td{_class(kind)}{exact}>{escape(text)}</td>"


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in a frame that scrolls on narrow screens.

    Args:
        caption: What it shows, plain text.
        headings: Of its columns, plain text.
        rows: Cells as :func:`cell` makes them.
    """
    lines = [list(row) for row in rows]
    numbers = lines[0] if lines else []
    head = "".join(
        f'<th scope="col"{_class("number") if _is_number(numbers, place) else ""}>'
        f"{escape(heading)}</th>"
        for place, heading in enumerate(headings)
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in lines)
    label = escape(caption, quote=True)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _is_number(row: Sequence[str], place: int) -> bool:
    """Tell whether a column is one of numbers, which are aligned on the right."""
    return place < len(row) and row[place].startswith('<td class="number')


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
