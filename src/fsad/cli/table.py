"""``fsad table``: many runs side by side."""

from pathlib import Path
from typing import Annotated

import typer


def table(
    paths: Annotated[list[Path], typer.Argument(help="Folders to search for runs.")],
    out: Annotated[
        Path, typer.Option(help="The folder that table.md and table.csv are written into.")
    ] = Path(),
    reference: Annotated[str, typer.Option(help="Compare every other method with this one.")] = "",
) -> None:
    """Show the results of many runs, mean and spread over seeds, and write them down.

    table.md and table.csv go into the current folder unless --out names another. The exit code is
    1 if there is no result, or none that can be read; one that cannot be read stops no other.

    With --reference, differences.md tells how much every method differs from that one on the same
    shots and test images, and whether chance alone would explain it.

    Example: fsad table outputs multirun --out tables
    """
    from fsad.results.table import (
        collect,
        compare,
        print_differences,
        print_table,
        write_differences,
        write_table,
    )

    runs = collect(paths)
    runs.refuse_unreadable()
    print_table(runs)
    written = [*write_table(out, runs)]
    if reference:
        comparison = compare(runs, reference)
        print_differences(comparison)
        written.append(write_differences(out, comparison))
    for path in written:
        typer.echo(f"wrote {path}")
