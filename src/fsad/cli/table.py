"""``fsad table``: many runs side by side."""

from pathlib import Path
from typing import Annotated

import typer


def table(
    paths: Annotated[list[Path], typer.Argument(help="Folders of runs, searched to any depth.")],
    out: Annotated[
        Path | None, typer.Option(help="Also write table.md and table.csv into this folder.")
    ] = None,
) -> None:
    """Show the results of many runs: mean and spread over seeds.

    Example: fsad table outputs multirun --out tables
    """
    from fsad.table import collect, print_table, write_table

    runs = collect(paths)
    print_table(runs)
    if out is not None:
        for path in write_table(out, runs):
            typer.echo(f"wrote {path}")
