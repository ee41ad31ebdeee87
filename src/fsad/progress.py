"""Progress bars for long steps: Rich on a terminal, silence elsewhere."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


def is_terminal() -> bool:
    """Tell whether standard error is a terminal someone can look at."""
    return Console(stderr=True).is_terminal


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield ``items`` while a bar on standard error counts them.

    Args:
        items: What to go through.
        what: The bar's label.
        total: How many there are.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from items
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield from progress.track(items, description=what, total=total)
