"""Writing PyTorch's own format of exported graphs."""

from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from fsad.atomic import atomic
from fsad.export.metadata import KEY, Metadata


def write_pt2(program: ExportedProgram, about: Metadata, path: Path) -> None:
    """Write a graph for ``torch.export.load``, atomically.

    Args:
        program: The graph.
        about: Goes with it, as JSON in an extra file ``fsad``.
        path: The file.

    Raises:
        OutputError: The file cannot be written.

    Note:
        ``torch.export.load`` may unpickle: it is for files of one's own. This program never calls
        it.
    """
    for name, value in program.constants.items():
        if isinstance(value, Tensor):  # a view, as of a bank in both banks, would bring the whole
            program.constants[name] = value.clone()
    with atomic(path) as partial, partial.open("wb") as file:
        torch.export.save(program, file, extra_files={KEY: about.to_json()})
