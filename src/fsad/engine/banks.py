"""The file of a run's memory banks."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from fsad.engine.stage import BankStage
from fsad.errors import DataError
from fsad.nn.memory_bank import MemoryBank
from fsad.storage.tensors import read_tensors, write_tensors


def write_banks(path: Path, banks: Iterable[MemoryBank], seconds: float) -> None:
    """Write the banks, their views, and the seconds they took to one safetensors file."""
    tensors = {
        f"{bank.domain}.{name}": value
        for bank in banks
        for name, value in bank.state_dict().items()
    }
    views = {f"{bank.domain}.views": str(bank.views) for bank in banks}
    write_tensors(path, tensors, {"seconds": str(seconds), **views})


def fill_banks(stage: BankStage, path: Path) -> float:
    """Fill banks from their file; return the seconds that building them took.

    Raises:
        DataError: The file cannot be read, or does not fit the backbone.
    """
    scorer = stage.scorer
    return read_banks(path, stage.banks, scorer.extractor.extractor.channels, scorer.device)


def read_banks(
    path: Path, banks: Sequence[MemoryBank], channels: int, device: torch.device
) -> float:
    """Read the banks back; return the seconds they took.

    Raises:
        DataError: The file cannot be read, or its features are not finite or of another width.
    """
    remedy = "Delete it to have the banks built again."
    try:
        tensors, metadata = read_tensors(path, device=device)
        seconds = float(metadata["seconds"])
        read = {
            bank: [tensors[f"{bank.domain}.{name}"] for name in ("features", "mean", "std")]
            for bank in banks
        }
        views = {bank: int(metadata.get(f"{bank.domain}.views", 1)) for bank in banks}
    except Exception as error:
        raise DataError(
            f"{path}: expected the banks of a run, got a file that cannot be read. {remedy}"
        ) from error
    for bank, (features, mean, std) in read.items():
        if features.ndim != 2 or features.shape[1] != channels:
            raise DataError(
                f"{path}: expected {bank.domain} features of {channels} channels, as the backbone "
                f"has, got {tuple(features.shape)}. {remedy}"
            )
        if not bool(features.isfinite().all()):
            raise DataError(
                f"{path}: expected finite {bank.domain} features, got NaN or infinity. {remedy}"
            )
        bank.fill(features, mean, std)
        bank.views = views[bank]
    return seconds
