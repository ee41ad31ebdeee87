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


class Bar:
    """A bar on standard error that counts steps and goes away when stopped.

    Where standard error is no terminal it does nothing.

    Args:
        what: The bar's label.
        total: How many steps there are.
    """

    def __init__(self, what: str, total: int) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(what, total=total, note="")
        self._progress.start()

    def advance(self, note: str = "", done: int | None = None) -> None:
        """Count one step.

        Args:
            note: Shown behind the bar.
            done: Steps done by now, for a bar that starts in the middle.
        """
        if done is None:
            self._progress.update(self._task, advance=1, note=note)
        else:
            self._progress.update(self._task, completed=done, note=note)

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield ``items`` while a :class:`Bar` counts them.

    Args:
        items: What to go through.
        what: The bar's label.
        total: How many there are.
    """
    bar = Bar(what, total)
    try:
        for item in items:
            yield item
            bar.advance()
    finally:
        bar.stop()
