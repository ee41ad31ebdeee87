"""Filling the memory banks when the stage that needs them starts."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from fsad.data.batch import ImageBatch
from fsad.data.datamodule import DataModule
from fsad.engine.banks import fill_banks, write_banks
from fsad.engine.scorer import BankScorer
from fsad.engine.stage import BankStage
from fsad.runtime.processes import broadcast_from_first, gather, is_rank_zero, share
from fsad.runtime.progress import Bar, track
from fsad.storage.memo import Memo

ROLES = {"source": "source", "target": "shots"}
"""Whose patches a bank holds, by its domain."""

log = logging.getLogger(__name__)


class MemoryBankBuilder(Callback):
    """Fills the banks of a scorer between the stages, when the next fit or the test starts.

    Banks found in the file, or made by another run from the same, are read instead of built.
    Several processes extract features batch by batch in turn; the first one selects, so that the
    banks are those of one process.

    Args:
        stage: What the banks are to be.
        data: The category's data.
        memo: Their file, and where else they may be.

    Attributes:
        seconds: What building took, in whichever run.
        seconds_in_test: Of these, spent when this run's test started.
        built: Whether the banks were built here, rather than read.
    """

    def __init__(self, stage: BankStage, data: DataModule, memo: Memo) -> None:
        self.stage, self.data, self.memo = stage, data, memo
        self.banks = stage.banks
        self.seconds = 0.0
        self.seconds_in_test = 0.0
        self.built = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fill the banks before training; the module is on its device by now."""
        self.fill()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fill the banks before testing, if no stage did."""
        self.seconds_in_test = self.fill()

    @torch.no_grad()  # not inference_mode: banks may feed a layer that trains
    def fill(self) -> float:
        """Fill what is empty; return the seconds that building took just now."""
        if all(bank.is_filled for bank in self.banks):
            return 0.0
        with self.memo.making() as needed:
            if needed:
                self._build()
        if not all(bank.is_filled for bank in self.banks):
            self.read()
            for bank in self.banks:
                if bank.views > 1:
                    log.info("banks: %d views of each %s image", bank.views, bank.domain)
        return self.seconds if needed else 0.0

    def read(self) -> None:
        """Fill the banks from the file.

        Raises:
            DataError: The file cannot be read, or does not fit the backbone.
        """
        self.seconds = fill_banks(self.stage, self.memo.path)

    def _build(self) -> None:
        start = time.perf_counter()
        data = self.data
        scorer = self.stage.scorer
        loaders = {bank.domain: partial(data.loader, ROLES[bank.domain]) for bank in self.banks}
        scorer.inspect_training_images(data)
        for bank in self.banks:
            domain = bank.domain
            bank.views = scorer.augmentations(domain)
            images: Any = loaders[domain]().dataset
            patches = len(images) * bank.views * cells_of(scorer)
            stream = scorer.stream(
                domain,
                self.stage.ratios[domain],
                self.stage.max_rows,
                patches if is_rank_zero() else None,
            )
            for features in features_in_turn(scorer, loaders[domain], domain):
                stream.add(features)
            if is_rank_zero():
                bar = Bar(f"{domain} bank", stream.count)
                stream.fill(bank, partial(_show, bar))
                bar.stop()
        self.seconds = time.perf_counter() - start
        self.built = True
        if is_rank_zero():
            write_banks(self.memo.path, self.banks, self.seconds)
            sizes = ", ".join(f"{len(bank.rows)} {bank.domain} rows" for bank in self.banks)
            log.info("banks: %s", sizes)


def cells_of(scorer: BankScorer) -> int:
    """Return how many patches an image has."""
    height, width = scorer.extractor.extractor.grid
    return int(height * width)


def _show(bar: Bar, done: int) -> None:
    bar.advance(done=done)


def features_in_turn(
    scorer: BankScorer, loader: Callable[..., DataLoader[ImageBatch]], domain: str
) -> Iterator[Tensor]:
    """Extract patch features with ``scorer.encode``, each process every n-th batch.

    Args:
        scorer: What encodes.
        loader: Returns the batches of a share of the role, as
            :meth:`~fsad.data.datamodule.DataModule.loader`.
        domain: ``"source"`` or ``"target"``.

    Yields:
        Features ``(views·images·h·w, c)`` in the order of the images, those of a batch view by
        view, in the first process alone.
    """
    number, count = share()
    batches = loader(share=(number, count))
    views = scorer.augmentations(domain)
    rounds = broadcast_from_first(len(batches))  # of the first process, which has the most batches
    own = iter(track(batches, f"{domain} features", len(batches)))
    for _ in range(rounds):
        batch = next(own, None)
        features = torch.empty(0, scorer.extractor.extractor.channels, device=scorer.device)
        if batch is not None:
            images = batch.image.to(scorer.device)
            seen = (scorer.augment(images, domain, view) for view in range(views))
            maps = torch.cat([scorer.encode(view, domain) for view in seen])
            features = maps.permute(0, 2, 3, 1).flatten(0, 2)
        yield from gather(features, (batches.batch_size or 1) * views * cells_of(scorer)) or ()
