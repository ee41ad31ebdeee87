"""``fsad report``: finished runs as one page to look at."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    paths: Annotated[list[Path], typer.Argument(help="Folders to search for runs.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The file; by default report.html in a single run's folder, or here."),
    ] = None,
    reference: Annotated[str, typer.Option(help="Compare every other method with this one.")] = "",
    data_root: Annotated[
        Path | None, typer.Option(help="Where the first run's data set is now, if it was moved.")
    ] = None,
) -> None:
    """Write one HTML file about finished runs: numbers, images, curves, sliders, provenance.

    It needs no network and no other file. Tables show all runs, images only the run named first.
    What is missing or cannot be read is left out, and the page says so.

    Example: fsad report outputs/DATE/TIME
    """
    if data_root is not None and not data_root.is_dir():
        from fsad.errors import MissingDataError

        raise MissingDataError(f"--data-root: expected the data set's folder, got '{data_root}'")
    if out is not None and out.is_dir():
        from fsad.errors import OutputError

        raise OutputError(f"--out: expected the name of a file, got the folder '{out}'")
    from fsad.report import write_report

    typer.echo(f"wrote {write_report(paths, out, reference, data_root)}")
