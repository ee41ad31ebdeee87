"""Filling the memory banks when the stage that needs them starts."""

import logging
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors import safe_open
from torch import Tensor
from torch.utils.data import DataLoader

from fsad.data.pairs import ImageBatch
from fsad.errors import DataError
from fsad.files import write_tensors
from fsad.functional.coreset import k_center_greedy
from fsad.nn.memory_bank import MemoryBank
from fsad.progress import track

log = logging.getLogger(__name__)


class MemoryBankBuilder(Callback):
    """Build both banks: adapters on, noise off; one z-score per domain; greedy coreset.

    Banks found in ``path`` are read instead of built.

    Args:
        path: ``banks.safetensors`` of the run.
        source_ratio: Share of the source patches kept.
        target_ratio: Share of the target patches kept.

    Source:
        HyperTrans, Algorithm 1, lines 6-9.
    """

    def __init__(self, path: Path, source_ratio: float, target_ratio: float) -> None:
        self.path = path
        self.ratios = {"source": source_ratio, "target": target_ratio}
        self.seconds = 0.0
        self.seconds_in_test = 0.0  # of these, spent when the test started

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fill the banks before training; the module is on its device by now."""
        self._fill(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fill the banks before testing, if no stage did."""
        self.seconds_in_test = self._fill(trainer, pl_module)

    @torch.no_grad()  # not inference_mode: banks may feed a layer that trains
    def _fill(self, trainer: Trainer, module: Any) -> float:
        """Fill what is empty; return the seconds that building took just now."""
        banks: tuple[MemoryBank, MemoryBank] = (module.source_bank, module.target_bank)
        if all(bank.is_filled for bank in banks):
            return 0.0
        if self.path.exists():
            channels = module.extractor.extractor.channels
            self.seconds = read_banks(self.path, banks, channels, module.device)
            return 0.0
        start = time.perf_counter()
        data = trainer.datamodule  # type: ignore[attr-defined]
        loaders = {"source": data.source_dataloader, "target": data.target_dataloader}
        for bank in banks:
            features = collect(module, loaders[bank.domain](), bank.domain)
            fill_bank(bank, features, self.ratios[bank.domain])
        self.seconds = time.perf_counter() - start
        write_banks(self.path, banks, self.seconds)
        log.info("banks: %s", ", ".join(f"{len(bank.rows)} {bank.domain} rows" for bank in banks))
        return self.seconds


def collect(module: Any, batches: DataLoader[ImageBatch], domain: str) -> Tensor:
    """Extract every patch feature of a loader with ``module.encode``, ``(images·h·w, c)``."""
    maps = [
        module.encode(batch.image.to(module.device), domain)
        for batch in track(batches, f"{domain} features", len(batches))
    ]
    return torch.cat([part.permute(0, 2, 3, 1).flatten(0, 2) for part in maps])


def fill_bank(bank: MemoryBank, features: Tensor, ratio: float) -> None:
    """Z-score features by scalars and keep a greedy coreset of ``ratio`` of them (at least one)."""
    mean, std = features.mean(), features.std()
    bank.fill(features, mean, std)  # checks that they vary
    normal = bank.normalize(features)
    if ratio < 1:
        # Rounded down, as published; 0.29 of 100 rows are 29, whatever binary fractions say.
        count = max(1, math.floor(ratio * len(normal) + 1e-6))
        picks = k_center_greedy(
            normal, count, lambda steps: track(steps, f"{bank.domain} coreset", count)
        )
        normal = normal[picks]
    bank.fill(normal, mean, std)


def write_banks(path: Path, banks: Iterable[MemoryBank], seconds: float) -> None:
    """Write the banks, and the seconds they took, to one safetensors file."""
    tensors = {
        f"{bank.domain}.{name}": value
        for bank in banks
        for name, value in bank.state_dict().items()
    }
    write_tensors(path, tensors, {"seconds": str(seconds)})


def read_banks(
    path: Path, banks: Iterable[MemoryBank], channels: int, device: torch.device
) -> float:
    """Read the banks back; return the seconds they took.

    Raises:
        DataError: The file cannot be read, or its features are not finite or of another width.
    """
    remedy = "Delete it to have the banks built again."
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            seconds = float(file.metadata()["seconds"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
        read = {
            bank: [tensors[f"{bank.domain}.{name}"] for name in ("features", "mean", "std")]
            for bank in banks
        }
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
    return seconds
