"""Writing ONNX; PyTorch's exporter works with onnxscript, which brings onnx_ir."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from fsad.errors import ConfigError, PackageError, RunError, message_of
from fsad.export.module import outputs_of
from fsad.predict.model_file.metadata import KEY, Metadata
from fsad.predict.model_file.seal import IN_ONNX, SEAL, UNSEALED, seal
from fsad.storage.atomic import atomic

OPSET = 18  # the first that the exporter writes, read by onnxruntime since 1.14
LARGEST = 2**31 - 2**20  # bytes that one file can hold, with some room for the graph

UNSTEADY = ("sift",)
"""Features that magnify rounding: descriptors are scaled to one length and their roots taken, so
that where depth is all but flat another program's rounding shows. Scores differed by up to 6e-4."""


def write_onnx(
    program: ExportedProgram,
    about: Metadata,
    path: Path,
    prove: Callable[[Path], object] = lambda _: None,
) -> None:
    """Write a graph as one ONNX file with its digest, atomically.

    Args:
        program: The graph.
        about: Goes with it, as JSON under the key ``fsad``.
        path: The file.
        prove: Given the file before it is in its place; what it raises leaves none.

    Raises:
        PackageError: ``onnx`` or ``onnxscript`` is not installed.
        RunError: ONNX has no equivalent for something the method does, or its scores would differ.
        ConfigError: The file would be larger than the format allows.
        OutputError: The file cannot be written.
    """
    refuse_without_packages()
    refuse_unsteady(about.method, about.backbone["name"])
    model = _converted(program, about)
    size = sum(each.const_value.nbytes for each in model.graph.initializers.values())
    if size > LARGEST:
        raise ConfigError(
            f"{path}: expected at most 2 GB, the most that one ONNX file holds, got "
            f"{size / 1e9:.1f} GB. Use a smaller bank, or --format pt2, which has no such limit."
        )
    _forget_where_it_was_made(model)
    model.metadata_props.update({KEY: about.to_json(), SEAL: UNSEALED})
    model.producer_name, model.producer_version = "fsad", about.fsad
    with atomic(path) as partial:
        import onnx_ir

        onnx_ir.save(model, partial)
        seal(partial, IN_ONNX)
        prove(partial)


def refuse_without_packages() -> None:
    """Refuse to start what needs a package that is not there.

    Raises:
        PackageError: ``onnx``, ``onnxscript`` or ``onnxruntime`` is not installed.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise PackageError(package, "export")


def refuse_unsteady(method: str, features: str) -> None:
    """Refuse a method whose scores would differ in another program.

    Args:
        method: Its name.
        features: Its extractor's name.

    Raises:
        RunError: The features are of :data:`UNSTEADY`.
    """
    if features in UNSTEADY:
        raise RunError(
            f"method: expected one that scores alike in another program, got {method}: its "
            "features amplify rounding errors where depth is flat. Export it with --format pt2."
        )


def _converted(program: ExportedProgram, about: Metadata) -> Any:
    names = outputs_of(program)
    try:
        with _quietly():
            found: Any = torch.onnx.export(
                program,
                input_names=[about.modality],
                output_names=names,
                opset_version=OPSET,
                dynamic_shapes={"images": {0: "n"}},
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises several types, of its own and others'
        cause = error.__cause__ or error
        raise RunError(
            f"method: expected one that ONNX has the operators of, got {about.method} "
            f"({message_of(cause)}). Export it with --format pt2."
        ) from error
    return found.model


def _forget_where_it_was_made(model: Any) -> None:
    """Leave the paths of this machine's source files out."""
    for graph in (model.graph, *(each.graph for each in model.functions.values())):
        for node in graph.all_nodes():
            node.metadata_props.clear()


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep to ourselves what the exporter says of its own inner life."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
