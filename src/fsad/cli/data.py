"""``fsad data``: datasets before a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.console import Console

    from fsad.data.depth_rules import DepthRules
    from fsad.data.inspect.check import Report

NAMED = 3  # sizes of a folder's images that a cell names one by one

app = typer.Typer(
    no_args_is_help=True,
    help="Prepare and check datasets.\n\nExample: fsad data check data/mvtec3d",
)

Format = Annotated[
    str,
    typer.Option("--format", help="The dataset's layout, such as mvtec3d or visa; auto looks."),
]
Light = Annotated[int, typer.Option(min=0, help="Eyecandies: which rendering is the RGB image.")]
Invalid = Annotated[
    list[float] | None,
    typer.Option(help='A number that means "no reading", such as 65535; may be repeated.'),
]
ZRange = Annotated[
    tuple[float, float] | None,
    typer.Option(help="Lowest and highest valid depth, in the files' numbers."),
]
Camera = Annotated[
    list[str] | None,
    typer.Option(
        help="Cameras: the folder of one, such as uv; may be repeated. rgb and ir if omitted."
    ),
]
Unit = Annotated[str | None, typer.Option(help="The files' unit, m or mm; if not given, metres.")]


@app.command()
def prepare(
    source: Annotated[Path, typer.Argument(help="The dataset: one folder per category.")],
    output: Annotated[Path, typer.Argument(help="The copy to write, or to continue.")],
    layout: Format = "auto",
    light: Light = 4,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Remove points closer to the ground than this: metres for MVTec 3D-AD, the "
            "renderer's units for Eyecandies. 0.005 if omitted."
        ),
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Only this category; may be given several times.")
    ] = None,
    rgb_background: Annotated[
        str, typer.Option(help="keep the RGB image as it is, or zero it outside the part.")
    ] = "keep",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the plane fits.")] = 0,
    invalid: Invalid = None,
    z_range: ZRange = None,
    unit: Unit = None,
) -> None:
    """Copy a dataset with the ground removed and the parts' holes filled.

    The copy has MVTec 3D-AD's layout: read it with data=mvtec3d data.root=OUTPUT.

    Example: fsad data prepare downloads/mvtec_3d data/mvtec3d
    """
    from fsad.data.prepare.copies import prepare

    report = prepare(
        source,
        output,
        layout=layout,
        light=light,
        threshold=threshold,
        categories=category or (),
        rgb_background=rgb_background,
        seed=seed,
        rules=_rules(invalid, z_range, unit),
    )
    typer.echo(f"{output}: {report.written} samples written, {report.found} were there already")
    for line in report.failures():
        typer.echo(f"error: {line}", err=True)
    if report.failed:
        categories = sum("/" not in name for name in report.failed)
        samples = len(report.failed) - categories
        total = report.written + report.found + samples
        failed = [f"{samples} of {total} samples"] if samples else []
        failed += [f"{categories} of the categories"] if categories else []
        typer.echo(f"error: {' and '.join(failed)} could not be prepared", err=True)
        raise typer.Exit(1)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="The dataset: one folder per category.")],
    layout: Format = "auto",
    light: Light = 4,
    invalid: Invalid = None,
    z_range: ZRange = None,
    unit: Unit = None,
    camera: Camera = None,
    image_size: Annotated[
        int, typer.Option(help="Image size of the run; smaller defects are listed.")
    ] = 224,
    resize: Annotated[
        str, typer.Option(help="How the run resizes photographs: square, or keep their shape.")
    ] = "square",
) -> None:
    """List what a dataset has, what is missing and wrong; exit code 1 if a run cannot use it.

    Options are those of a run: --invalid 65535 is data.invalid=[65535] there, and --camera rgb
    --camera uv is data.reader.cameras=[rgb,uv].

    Example: fsad data check data/mvtec3d
    """
    from rich.console import Console

    from fsad.data.inspect.check import check

    rules = _rules(invalid, z_range, unit)
    report = check(path, layout, light, rules, image_size, camera or (), resize)
    _show(report, Console())
    if report.problems:
        raise typer.Exit(1)


@app.command()
def audit(
    path: Annotated[Path, typer.Argument(help="The dataset: one folder per category.")],
    layout: Format = "auto",
    light: Light = 4,
    invalid: Invalid = None,
    z_range: ZRange = None,
    unit: Unit = None,
    camera: Camera = None,
) -> None:
    """Check whether trivial statistics alone separate good from defective test images.

    If one does, the images differ in more than defects, for example in the recording session. A
    high image AUROC is then no evidence that a method sees defects.

    Example: fsad data audit data/mvtec3d
    """
    from rich.console import Console
    from rich.table import Table

    from fsad.data.inspect.audit import audit

    statistics = audit(path, layout, light, _rules(invalid, z_range, unit), camera or ())
    table = Table(title=f"{path}: image AUROC of trivial statistics")
    for heading in ("category", "modality", "statistic"):
        table.add_column(heading)
    for heading in ("image AUROC", "test images"):
        table.add_column(heading, justify="right")
    for row in statistics:
        cells = row.category, row.modality, row.statistic, f"{row.auroc:.3f}", str(row.images)
        table.add_row(*cells)
    console = Console()
    console.print(table)
    for row in statistics:
        if row.solves:
            console.print(
                f"- {row.category}: {row.statistic} ({row.modality}) alone separates good from "
                f"defective test images (AUROC {row.auroc:.2f}): ignore the image AUROC here.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    if not any(row.solves for row in statistics):
        console.print("no trivial statistic separates the test images", highlight=False)


def _rules(
    invalid: list[float] | None, z_range: tuple[float, float] | None, unit: str | None
) -> "DepthRules | None":
    """Return how depth files are read; None where nothing was said of it."""
    from fsad.data.depth_rules import DepthRules

    if not invalid and z_range is None and unit is None:
        return None
    return DepthRules(tuple(invalid or ()), z_range, unit)


def sizes_said(sizes: "Collection[tuple[int, int]]") -> str:
    """Name the sizes of images; of many, from where to where either side goes."""
    if len(sizes) <= NAMED:
        return ", ".join(f"{height} × {width}" for height, width in sorted(sizes))
    heights, widths = ({size[axis] for size in sizes} for axis in (0, 1))
    sides = (
        f"{min(side)}" if len(side) == 1 else f"{min(side)}-{max(side)}"
        for side in (heights, widths)
    )
    return f"{' × '.join(sides)} ({len(sizes)} sizes)"


def _show(report: "Report", console: "Console") -> None:
    """Print the table of what is there, then the list of what is not right."""
    from rich.table import Table

    table = Table(title=f"{report.root} ({report.layout})")
    for heading in ("category", "split", "defect"):
        table.add_column(heading)
    for heading in ("images", "height × width", "valid depth"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        table.add_row(
            row.folder.category,
            row.folder.split,
            row.folder.defect,
            str(len(row.folder.stems)),
            sizes_said(row.sizes),
            "–" if row.mean_valid is None else f"{row.mean_valid:.0%}",
        )
    console.print(table)
    for problem in report.problems:
        console.print(f"- {problem}", markup=False, highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    count = len(report.problems)
    console.print(f"{count or 'no'} problem{'' if count == 1 else 's'} found", highlight=False)
