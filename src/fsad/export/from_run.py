"""A category of a finished run as a file."""

from pathlib import Path
from typing import Literal, NamedTuple

from fsad.atomic import make_folder
from fsad.errors import ConfigError
from fsad.export.about import about
from fsad.export.kept import MODEL
from fsad.export.metadata import Metadata
from fsad.export.module import traced
from fsad.export.onnx import OPSET, refuse_without_packages, write_onnx
from fsad.export.pt2 import write_pt2
from fsad.predict.from_run import TrainedScorer, load_run


class Exported(NamedTuple):
    """What was written.

    Attributes:
        path: The file.
        kind: Its format, in words.
        about: What it says of itself.
    """

    path: Path
    kind: str
    about: Metadata


def export_run(
    run: Path,
    category: str | None = None,
    path: Path | None = None,
    format: Literal["onnx", "pt2"] = "onnx",
    weights_path: Path | None = None,
) -> Exported:
    """Write backbone, banks, scoring and map of one category to one file, atomically.

    Args:
        run: The run's folder.
        category: Which; may be omitted where the run has one.
        path: The file; omitted, an ONNX file stays in the category's folder, where
            ``fsad predict`` looks.
        format: ``onnx``, or ``pt2`` for ``torch.export.load``.
        weights_path: The backbone's file of weights, where it has moved.

    Raises:
        ConfigError: A ``pt2`` file has no name.
        FsadError: As :func:`~fsad.predict.from_run.load_run`,
            :func:`~fsad.export.module.traced` and the format's writer.
    """
    if path is None and format == "pt2":
        raise ConfigError("--output: expected a file for --format pt2, got none. Say -o FILE")
    if format == "onnx":
        refuse_without_packages()
    predictor = load_run(run, category, weights_path=weights_path)
    assert isinstance(predictor.scorer, TrainedScorer)
    trained = predictor.scorer.trained
    path = path or trained.folder / MODEL
    make_folder(path.parent, "--output")  # only now: a run that is refused leaves none behind
    record = about(
        trained, predictor.limits, predictor.part_above, predictor.rules, predictor.profile
    )
    program = traced(trained)
    if format == "onnx":
        write_onnx(program, record, path)
        return Exported(path, f"ONNX, opset {OPSET}", record)
    write_pt2(program, record, path)
    return Exported(path, "torch.export", record)
