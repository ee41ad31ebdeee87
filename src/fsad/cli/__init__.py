"""The ``fsad`` command: what is done with data before a run and with results after it.

Nothing heavy is imported until a command needs it, so that ``fsad --help`` answers at once.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fsad.cli import data, export, predict, pretrain, report, table


class _Group(TyperGroup):
    """Turns an error into one line; its traceback is shown with ``--debug`` alone."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            from fsad.errors import FsadError, message_of

            if ctx.params["debug"] or _is_typers(error):
                raise
            message = message_of(error)
            if not isinstance(error, FsadError):
                name = type(error).__name__
                about = name if message == name else f"{name}: {message}"
                message = (
                    f"fsad: expected no error here, got {about}. "
                    "This is a bug in fsad; put --debug after fsad to see where."
                )
            typer.echo(f"error: {message}", err=True)
            raise typer.Exit(1) from error


def _is_typers(error: Exception) -> bool:
    """Tell whether typer ends the command itself: help, a wrong option, a reader that has left."""
    return type(error).__module__.startswith(("typer.", "click.")) or isinstance(
        error, BrokenPipeError
    )


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
app.command("predict")(predict.predict)
app.command("export")(export.export)
app.command("table")(table.table)
app.command("report")(report.report)
app.command("pretrain")(pretrain.pretrain)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"fsad {version('fsad')}")
        raise typer.Exit


@app.callback()
def fsad(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,  # read by _Group
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Few-shot anomaly detection: prepare and check data, predict, show results, pretrain.

    Runs themselves are started with train.py. fsad COMMAND --help tells more of each command.

    Example: fsad report outputs/DATE/TIME
    """


def main() -> None:
    """Run the command line."""
    app()
