"""``fsad export``: one category of a finished run as a file that scores images elsewhere."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What the file is."""

    onnx = "onnx"
    pt2 = "pt2"


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The file to write. If omitted: a file in the run's folder, which fsad predict "
            "then uses.",
        ),
    ] = None,
    format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="onnx: opset 18, needs 'fsad\\[export]'; pt2: for torch.export.load.",
        ),
    ] = Format.onnx,
    category: Annotated[str | None, typer.Option(help="Which one, if the run has several.")] = None,
    weights_path: Annotated[
        Path | None,
        typer.Option(help="The backbone's weights, if the file has moved."),
    ] = None,
) -> None:
    """Write backbone, banks, scoring and map of a finished run to one file.

    Its input is depth (n, 1, S, S) or rgb (n, 3, S, S), float32 in [0, 1], of any number of
    images; its outputs are score (n,) and map (n, S, S), and the score of each part; higher = more
    anomalous. What the run was, how images are made and the licence of the backbone's weights are
    in the file's metadata, as JSON under "fsad".

    Before the file is written it must give the same scores as the run on a few shots and test
    images. If the data is gone, generated images are used.

    Without -o the file stays in the run's folder, and fsad predict RUN starts in a fifth of the
    time. A run with export=true writes it there by itself.

    Example: fsad export outputs/RUN -o bolt.onnx && fsad predict bolt.onnx part.tiff
    """
    from fsad.errors import OutputError

    if output is not None and output.is_dir():  # a mistake shows before any work
        name = f"{run.resolve().name}.{format}"
        raise OutputError(
            f"--output: expected the name of a file, got the folder '{output}'. "
            f"Name the file in it: -o {output / name}"
        )
    from fsad.export.from_run import export_run

    path, kind, about, proof = export_run(run, category, output, format.value, weights_path)
    size = path.stat().st_size / 1e6
    typer.echo(f"wrote {path} ({kind}, {size:.1f} MB, {about.method}, {about.category})")
    typer.echo(f"it scores {proof}")
    typer.echo(f"weights of {about.backbone['name']}: {about.backbone['licence']}")
