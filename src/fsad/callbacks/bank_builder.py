"""Filling the memory banks when the stage that needs them starts."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fsad.data.pairs import ImageBatch
from fsad.errors import DataError
from fsad.files import atomic
from fsad.functional.coreset import k_center_greedy
from fsad.nn.memory_bank import MemoryBank
from fsad.progress import track

log = logging.getLogger(__name__)


class BankUser(Protocol):
    """What the builder asks of a module."""

    source_bank: MemoryBank
    target_bank: MemoryBank

    def encode(self, images: Tensor, domain: str) -> Tensor:
        """Return patch features ``(n, c, h, w)``."""
        ...


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
        before = self.seconds
        self._fill(trainer, pl_module)
        self.seconds_in_test = self.seconds - before

    @torch.no_grad()  # not inference_mode: banks may feed a layer that trains
    def _fill(self, trainer: Trainer, module: LightningModule) -> None:
        banks: tuple[MemoryBank, MemoryBank] = (module.source_bank, module.target_bank)  # type: ignore[assignment]
        if all(bank.is_filled for bank in banks):
            return
        if self.path.exists():
            for bank in banks:
                read_bank(self.path, bank, module.device)
            return
        start = time.perf_counter()
        data = trainer.datamodule  # type: ignore[attr-defined]
        loaders = {"source": data.source_dataloader, "target": data.target_dataloader}
        for bank in banks:
            features = collect(module, loaders[bank.domain](), bank.domain)  # type: ignore[arg-type]
            fill_bank(bank, features, self.ratios[bank.domain])
        write_banks(self.path, banks)
        self.seconds = time.perf_counter() - start
        log.info("banks: %s", ", ".join(f"{len(bank.rows)} {bank.domain} rows" for bank in banks))


def collect(module: BankUser, batches: Iterable[ImageBatch], domain: str) -> Tensor:
    """Extract every patch feature of a loader, ``(images·h·w, c)``, on the module's device."""
    device = module.source_bank.mean.device
    total = len(batches)  # type: ignore[arg-type]
    maps = [
        module.encode(batch.image.to(device), domain)
        for batch in track(batches, f"{domain} features", total)
    ]
    return torch.cat([part.permute(0, 2, 3, 1).flatten(0, 2) for part in maps])


def fill_bank(bank: MemoryBank, features: Tensor, ratio: float) -> None:
    """Z-score features by scalars and keep a greedy coreset of ``ratio`` of them (at least one)."""
    mean, std = features.mean(), features.std()
    bank.fill(features, mean, std)  # checks that they vary
    normal = bank.normalize(features)
    if ratio < 1:
        count = max(1, int(ratio * len(normal)))
        picks = k_center_greedy(
            normal, count, lambda steps: track(steps, f"{bank.domain} coreset", count)
        )
        normal = normal[picks]
    bank.fill(normal.clone(), mean, std)


def write_banks(path: Path, banks: Iterable[MemoryBank]) -> None:
    """Write the banks to one safetensors file."""
    tensors = {
        f"{bank.domain}.{name}": value.detach().cpu().contiguous().clone()
        for bank in banks
        for name, value in bank.state_dict().items()
    }
    with atomic(path) as partial:
        save_file(tensors, partial)


def read_bank(path: Path, bank: MemoryBank, device: torch.device) -> None:
    """Read one bank back.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            features, mean, std = (
                file.get_tensor(f"{bank.domain}.{name}") for name in ("features", "mean", "std")
            )
    except Exception as error:
        raise DataError(
            f"{path}: expected the banks of a run, got a file that cannot be read. "
            "Delete it to have the banks built again."
        ) from error
    bank.fill(features, mean, std)
