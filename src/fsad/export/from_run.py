"""A category of a finished run as a file."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from fsad.errors import ConfigError
from fsad.export.about import about
from fsad.export.module import outputs_of, traced
from fsad.export.onnx import OPSET, refuse_without_packages, write_onnx
from fsad.export.proof import Proof, prove
from fsad.export.pt2 import score_pt2, write_pt2
from fsad.predict.from_run import TrainedScorer, load_run
from fsad.predict.model_file.kept import MODEL
from fsad.predict.model_file.metadata import MAP, Metadata
from fsad.predict.onnx import OnnxScorer
from fsad.storage.atomic import make_folder


class Exported(NamedTuple):
    """What was written.

    Attributes:
        path: The file.
        kind: Its format, in words.
        about: What it says of itself.
        proof: How it compares with the run.
    """

    path: Path
    kind: str
    about: Metadata
    proof: Proof


def export_run(
    run: Path,
    category: str | None = None,
    path: Path | None = None,
    format: Literal["onnx", "pt2"] = "onnx",
    weights_path: Path | None = None,
) -> Exported:
    """Write backbone, banks, scoring and map of one category to one file, atomically.

    Before the file is in its place it is read back and scores some of the run's images, or made
    ones where the data is not there by now: see :mod:`fsad.export.proof`.

    Args:
        run: The run's folder.
        category: Which; may be omitted where the run has one.
        path: The file; omitted, an ONNX file stays in the category's folder, where
            ``fsad predict`` looks.
        format: ``onnx``, or ``pt2`` for ``torch.export.load``.
        weights_path: The backbone's file of weights, where it has moved.

    Raises:
        ConfigError: A ``pt2`` file has no name.
        RunError: The file says something else than the run; none is written.
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
    program = traced(trained)
    record = about(trained, predictor.limits, predictor.input)
    record = replace(record, has_map=MAP in outputs_of(program))
    compare = prove(predictor, "export")
    proofs: list[Proof] = []
    if format == "onnx":
        write_onnx(program, record, path, lambda it: proofs.append(compare(OnnxScorer(it).score)))
    else:
        write_pt2(program, record, path, lambda it: proofs.append(compare(score_pt2(it))))
    kind = f"ONNX, opset {OPSET}" if format == "onnx" else "torch.export"
    return Exported(path, kind, record, proofs[0])
