"""``fsad predict``: a finished run on new images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fsad.predict.loop import Summary
    from fsad.predict.outputs import Outputs
    from fsad.predict.predictor import Predictor


def predict(
    run_dir: Annotated[
        Path, typer.Argument(help="The folder of a finished run, or its exported .onnx.")
    ],
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Images, or folders of them. Depth: .tiff (xyz), 16-bit .png, .npy; photographs: "
            ".png, .jpg, .bmp, .tif."
        ),
    ],
    out: Annotated[Path, typer.Option(help="A new folder for the predictions.")] = Path(
        "predictions"
    ),
    category: Annotated[str | None, typer.Option(help="Which one of the run's.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Above it images are defective.")] = None,
    map_threshold: Annotated[
        float | None, typer.Option(help="Above it regions are outlined.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, or a GPU such as cuda.")] = "cpu",
    weights_path: Annotated[
        Path | None, typer.Option(help="The backbone's weights, if the file has moved.")
    ] = None,
    maps: Annotated[
        bool, typer.Option("--maps/--no-maps", help="Write maps, overlays and outlines.")
    ] = True,
    unit: Annotated[str | None, typer.Option(help="The points' unit: m or mm.")] = None,
    normal: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A reference: a good image."),
    ] = None,
    defective: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A defective reference.")
    ] = None,
    mask: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="The mask of its defect.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for new images, until Ctrl-C.")
    ] = False,
) -> None:
    """Score new images with a finished run, and decide which are defective.

    Writes predictions.csv, 16-bit maps, overlays and outlines. The threshold is the largest score
    of the run's own shots, held out of the bank. A file that cannot be read is named and skipped;
    the exit code is then 1.

    Example: fsad predict outputs/RUN new_parts --out checked
    """
    from fsad.errors import printable
    from fsad.predict.images import find_images, refuse_absent
    from fsad.predict.outputs import Outputs, base_of

    if watch:
        _refuse_unwatchable(paths)
    refuse_absent(paths)
    references = normal or [], defective or [], mask or []
    refuse_absent([path for paths_of_kind in references for path in paths_of_kind])
    predictor = _ready(
        run_dir, category, device, weights_path, threshold, map_threshold, references
    )
    if unit is not None:
        predictor.input = predictor.input.in_unit(unit)
    # Only now, so that a mistake in the above leaves no folder behind.
    if watch:
        outputs = Outputs(out, paths[0].absolute(), maps, go_on=True)
        summary = _watch(predictor, paths[0], outputs)
    else:
        files = find_images(paths, predictor.input)
        summary = _predict(predictor, files, Outputs(out, base_of(files), maps))
    for line in (*summary.lines(), f"wrote {out}"):
        typer.echo(printable(line))
    if summary.failed:
        raise typer.Exit(1)


def _refuse_unwatchable(paths: list[Path]) -> None:
    from fsad.errors import MissingDataError

    if len(paths) != 1 or not paths[0].is_dir():
        named = ", ".join(f"'{path}'" for path in paths)
        raise MissingDataError(f"--watch: expected one folder, got {named}")


def _ready(
    run_dir: Path,
    category: str | None,
    device: str,
    weights_path: Path | None,
    threshold: float | None,
    map_threshold: float | None,
    references: tuple[list[Path], list[Path], list[Path]],
) -> "Predictor":
    """Load the model and tell what it decides by."""
    from dataclasses import replace

    from fsad.errors import check_finite

    for name, value in (("--threshold", threshold), ("--map-threshold", map_threshold)):
        if value is not None:
            check_finite(name, value)
    if any(references):
        predictor = _referring(run_dir, category, device, weights_path, references)
    else:
        predictor = _loaded(run_dir, category, device, weights_path)
    limits = predictor.limits
    if threshold is not None:
        note = f"threshold {threshold:.6g}, as given; its false-alarm rate is unknown"
        limits = replace(limits, image=threshold, false_alarm_rate=None, note=note)
    if map_threshold is not None:
        limits = replace(limits, map=map_threshold)
    predictor.limits = limits
    typer.echo(limits.note)
    return predictor


def _referring(
    run: Path,
    category: str | None,
    device: str,
    weights_path: Path | None,
    references: tuple[list[Path], list[Path], list[Path]],
) -> "Predictor":
    """Read a run that scores by the references that are given."""
    from fsad import load
    from fsad.predict.references import any_category, check_references, refer_to

    check_references(*references)
    predictor = load(run, category or any_category(run), device, weights_path)
    return refer_to(predictor, *references)


def _loaded(
    model: Path, category: str | None, device: str, weights_path: Path | None
) -> "Predictor":
    """Read a run's kept file if it has one, else what was named."""
    from fsad import load

    kept = _kept(model, category) if device == "cpu" and weights_path is None else None
    return kept or load(model, category, device, weights_path)


def _kept(run: Path, category: str | None) -> "Predictor | None":
    """Read the file that ``fsad export`` left in a run, if it is there and still the run's."""
    from fsad.errors import DataError, PackageError, message_of
    from fsad.predict.model_file.kept import kept_model, state_of

    path = kept_model(run, category)
    if path is None:
        return None
    from fsad.predict.onnx import OnnxScorer, predictor_of

    try:
        scorer = OnnxScorer(path)
        if scorer.metadata.state == state_of(path.parent):
            typer.echo(f"using {path}, which was exported from this run")
            return predictor_of(scorer)
        problem = f"{path}: the run has changed since it was exported. "
        problem += f"Export it again with: fsad export {run}"
    except (DataError, PackageError) as error:
        problem = message_of(error)
    typer.echo(f"{problem}. Using PyTorch instead")
    return None


def _predict(predictor: "Predictor", files: list[Path], outputs: "Outputs") -> "Summary":
    from fsad.predict.loop import predict_files
    from fsad.runtime.progress import track

    images = track(files, "predict", len(files))
    return predict_files(predictor, images, outputs, _complain, _notice)


def _watch(predictor: "Predictor", folder: Path, outputs: "Outputs") -> "Summary":
    from fsad.errors import printable
    from fsad.predict.loop import Summary, predict_files
    from fsad.predict.watch import arriving

    summary = Summary()
    typer.echo(printable(f"watching {folder}; stop with Ctrl-C"))
    try:
        images = arriving(folder, outputs.done, predictor.input.suffixes)
        predict_files(predictor, images, outputs, _complain, _notice, summary, comes_again=True)
    except KeyboardInterrupt:
        typer.echo()
    return summary


def _complain(line: str) -> None:
    typer.echo(f"error: {line}", err=True)


def _notice(line: str) -> None:
    typer.echo(f"note: {line}", err=True)
