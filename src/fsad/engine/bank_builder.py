"""Filling the memory banks when the stage that needs them starts."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from fsad.data.batch import ImageBatch
from fsad.errors import DataError
from fsad.nn.bank_stream import BankStream
from fsad.nn.memory_bank import MemoryBank
from fsad.runtime.processes import agree, gather, is_first, share
from fsad.runtime.progress import Bar, track
from fsad.storage.memo import Memo
from fsad.storage.tensors import read_tensors, write_tensors

log = logging.getLogger(__name__)


class MemoryBankBuilder(Callback):
    """Build the banks: adapters on, noise off; one z-score per domain; greedy coreset.

    Banks found in the file, or made by another run from the same, are read instead of built.
    Several processes extract features batch by batch in turn; the first one selects, so that the
    banks are those of one process.

    Args:
        path: ``banks.safetensors`` of the run.
        ratios: Share of the patches kept, by domain; a domain that is not named has no bank.
        slack: See :func:`fsad.functional.coreset.k_center_greedy`.
        max_rows: See :class:`fsad.nn.bank_stream.BankStream`.

    Attributes:
        memo: The file, and where else the banks may be; the pipeline sets the latter.
        seconds: What building took, in whichever run.
        seconds_in_test: Of these, spent when this run's test started.
        built: Whether the banks were built here, rather than read.

    Source:
        HyperTrans, Algorithm 1, lines 6-9.
    """

    def __init__(
        self,
        path: Path,
        ratios: Mapping[str, float],
        slack: float = 0.0,
        max_rows: int | None = None,
    ) -> None:
        self.ratios, self.slack, self.max_rows = dict(ratios), slack, max_rows
        self.memo = Memo(path)
        self.seconds = 0.0
        self.seconds_in_test = 0.0
        self.built = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fill the banks before training; the module is on its device by now."""
        self.fill(trainer.datamodule, pl_module)  # type: ignore[attr-defined]

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fill the banks before testing, if no stage did."""
        self.seconds_in_test = self.fill(trainer.datamodule, pl_module)  # type: ignore[attr-defined]

    @torch.no_grad()  # not inference_mode: banks may feed a layer that trains
    def fill(self, data: Any, module: Any) -> float:
        """Fill what is empty; return the seconds that building took just now."""
        banks = self._banks(module)
        if banks and all(bank.is_filled for bank in banks):
            return 0.0
        with self.memo.making() as needed:
            if needed:
                self._build(data, module, banks)
        if not all(bank.is_filled for bank in banks):
            self.read(module)
            for bank in banks:
                if bank.views > 1:
                    log.info("banks: %d views of each %s image", bank.views, bank.domain)
        return self.seconds if needed else 0.0

    def _banks(self, module: Any) -> list[MemoryBank]:
        """Return the module's banks that are to be filled."""
        return [
            bank for bank in (module.source_bank, module.target_bank) if bank.domain in self.ratios
        ]

    def read(self, module: Any) -> None:
        """Fill the banks from the file.

        Raises:
            DataError: The file cannot be read, or does not fit the backbone.
        """
        banks = self._banks(module)
        channels = module.extractor.extractor.channels
        self.seconds = read_banks(self.memo.path, banks, channels, module.device)

    def _build(self, data: Any, module: Any, banks: Sequence[MemoryBank]) -> None:
        start = time.perf_counter()
        loaders = {"source": data.source_dataloader, "target": data.target_dataloader}
        module.look(data)
        for bank in banks:
            bank.views = module.bank_views(bank.domain)
            patches = len(loaders[bank.domain]().dataset) * bank.views * cells_of(module)
            stream = BankStream(
                bank.domain,
                self.ratios[bank.domain],
                self.slack,
                self.max_rows,
                expected_rows=patches if is_first() else None,
            )
            for features in features_in_turn(module, loaders[bank.domain], bank.domain):
                stream.add(features)
            if is_first():
                bar = Bar(f"{bank.domain} coreset", stream.count)
                stream.fill(bank, partial(_show, bar))
                bar.stop()
        self.seconds = time.perf_counter() - start
        self.built = True
        if is_first():
            write_banks(self.memo.path, banks, self.seconds)
            sizes = ", ".join(f"{len(bank.rows)} {bank.domain} rows" for bank in banks)
            log.info("banks: %s", sizes or "none")


def cells_of(module: Any) -> int:
    """Return how many patches an image has."""
    height, width = module.extractor.extractor.grid
    return int(height * width)


def _show(bar: Bar, done: int) -> None:
    bar.advance(done=done)


def features_in_turn(
    module: Any, loader: Callable[[tuple[int, int]], DataLoader[ImageBatch]], domain: str
) -> Iterator[Tensor]:
    """Extract patch features with ``module.encode``, each process every n-th batch.

    Args:
        module: What encodes.
        loader: Returns the batches of one process out of how many.
        domain: ``"source"`` or ``"target"``.

    Yields:
        Features ``(views·images·h·w, c)`` in the order of the images, those of a batch view by
        view, in the first process alone.
    """
    number, count = share()
    batches = loader((number, count))
    views = module.bank_views(domain)
    rounds = agree(len(batches))  # of the first process, which has the most batches
    own = iter(track(batches, f"{domain} features", len(batches)))
    for _ in range(rounds):
        batch = next(own, None)
        features = torch.empty(0, module.extractor.extractor.channels, device=module.device)
        if batch is not None:
            images = batch.image.to(module.device)
            seen = (module.bank_view(images, domain, view) for view in range(views))
            maps = torch.cat([module.encode(view, domain) for view in seen])
            features = maps.permute(0, 2, 3, 1).flatten(0, 2)
        yield from gather(features, (batches.batch_size or 1) * views * cells_of(module)) or ()


def write_banks(path: Path, banks: Sequence[MemoryBank], seconds: float) -> None:
    """Write the banks, their views, and the seconds they took to one safetensors file."""
    tensors = {
        f"{bank.domain}.{name}": value
        for bank in banks
        for name, value in bank.state_dict().items()
    }
    views = {f"{bank.domain}.views": str(bank.views) for bank in banks}
    write_tensors(path, tensors, {"seconds": str(seconds), **views})


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
