r"""Text in the cells of a CSV that people open with a spreadsheet.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line break for a
formula, and runs it. A file may be called so. Such a text gets a ``'`` before it, by which it is
shown as it is; so does one that begins with ``'`` and would then look guarded.
"""

import re
from typing import TypeVar

_RISKY = re.compile(r"'*[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
Cell = TypeVar("Cell")


def guarded(cell: Cell | str) -> Cell | str:
    """Return a cell as it is written; what is no text, or a number as text, stays.

    Law (``tests/storage/test_csv_cells.py``): :func:`plain` gives the text back, whatever it is.
    """
    if isinstance(cell, str) and _RISKY.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def plain(text: str) -> str:
    """Return a cell of text as it was before :func:`guarded`."""
    return text[1:] if text.startswith("'") and _RISKY.match(text) else text
