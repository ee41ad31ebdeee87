"""A category's fits and its test: all of a run for which a Trainer is needed."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor

from fsad.data.datamodule import DataModule
from fsad.engine.artifacts import StageArtifact
from fsad.engine.bank_builder import MemoryBankBuilder
from fsad.engine.checkpoint import backbone_identity, check_readable
from fsad.engine.last_tests import LastTests
from fsad.engine.plan import Plan
from fsad.engine.scorer import Scorer
from fsad.engine.stage import FitStage, Settings, Stage
from fsad.engine.stage_checkpoint import StageCheckpoint
from fsad.engine.stage_module import TestLoop
from fsad.engine.stage_progress import StageProgress
from fsad.errors import ConfigError
from fsad.nn.extractor import PatchExtractor
from fsad.results.feature_samples import EMBEDDINGS
from fsad.runtime.processes import broadcast_from_first
from fsad.runtime.randomness import seeded
from fsad.storage.tensor_store import TensorStore

log = logging.getLogger(__name__)

MakeTrainer = Callable[..., Trainer]


@dataclass(frozen=True)
class RunContext:
    """What all categories of a run share.

    Attributes:
        make_trainer: Returns a Trainer from ``max_epochs`` and ``callbacks``; a fresh one is needed
            for every fit, a used one would train for no step.
        loggers: Told what is measured.
        store: Where files lie that other runs need too; None keeps them to this run.
        identity: All that decides a run's numbers besides its method, data and backbone: the code,
            the machine, the number of threads.
        settings: All of the method's settings.
        exact_metrics: Keep and sort every pixel for the metrics.
        threshold: Set a threshold from the shots when the test is over.
        tests: What the process's last tests yielded, and what this run's will be kept in; used
            where files are shared.
    """

    make_trainer: MakeTrainer
    loggers: Sequence[Logger] = ()
    store: TensorStore | None = None
    identity: str = ""
    settings: Settings = field(default_factory=dict)
    exact_metrics: bool = False
    threshold: bool = False
    tests: LastTests = field(default_factory=LastTests)


class CategoryTrainer:
    """Trains a category's networks and tests what they are for, each with a fresh Trainer.

    What was done before, and where results lie, is no concern of it.

    Args:
        extractor: The frozen backbone.
        data: The category's data.
        run_data: That of all the run's categories, for stages that are trained once per run.
        around: What the run's categories share.
        prefix: Put before log keys.
    """

    def __init__(
        self,
        extractor: PatchExtractor,
        data: DataModule,
        run_data: DataModule,
        around: RunContext,
        prefix: str = "",
    ) -> None:
        self.extractor, self.data, self.run_data = extractor, data, run_data
        self.around, self.prefix = around, prefix

    def data_of(self, stage: Stage) -> DataModule:
        """Return the images that a stage is of: the category's, or those of all the run's."""
        return self.run_data if stage.scope == "run" else self.data

    def train(
        self, stage: FitStage, builder: MemoryBankBuilder | None, unfinished: Path
    ) -> StageArtifact:
        """Train a stage's network.

        Args:
            stage: Which.
            builder: Fills the memory banks when the fit starts; None where it needs none.
            unfinished: The checkpoint that it goes on from if it is there, and leaves if killed.
        """
        checkpoint = StageCheckpoint(unfinished, stage.checkpoint_every)
        callbacks: list[Callback] = [checkpoint, StageProgress(stage.name)]
        if builder:
            callbacks.append(builder)
        goes_on = broadcast_from_first(unfinished.exists())
        if goes_on:
            log.info("%s: goes on from %s", stage.name, unfinished)
        module = stage.module()
        module.reads, module.sampling = stage.reads, stage.sampling
        module.prefix = self.prefix if stage.scope == "category" else ""
        trainer = self.around.make_trainer(max_epochs=stage.epochs, callbacks=callbacks)
        trainer.fit(
            module,
            datamodule=self.data_of(stage),
            ckpt_path=check_readable(unfinished) if goes_on else None,
            weights_only=True,
        )
        artifact = StageArtifact(
            dict(stage.network.state_dict()),
            backbone_identity(self.extractor),
            checkpoint.seconds,
            module.diagnostics,
        )
        self.log({f"{stage.name}/{name}": value for name, value in artifact.diagnostics.items()})
        return artifact

    def test(
        self, scorer: Scorer, builder: MemoryBankBuilder | None
    ) -> tuple[dict[str, Tensor] | None, float]:
        """Score the test images.

        Args:
            scorer: What scores.
            builder: Fills its memory banks first; None where it has none.

        Returns:
            The scores, in the first process alone, and the seconds that scoring them took.
        """
        start = time.perf_counter()
        if not self.data.test_samples:
            return self._without_test(scorer, builder), 0.0
        callbacks: list[Callback] = [builder] if builder else []
        trainer = self.around.make_trainer(callbacks=[*callbacks, StageProgress("test")])
        loop = TestLoop(scorer)
        trainer.test(loop, datamodule=self.data, verbose=False)
        device = trainer.strategy.root_device  # the module is back on the CPU by now
        tensors = loop.scores.gathered(len(self.data.test_samples), device)
        return tensors, time.perf_counter() - start - (builder.seconds_in_test if builder else 0.0)

    def refuse_processes_without_test(self) -> None:
        """Refuse several processes where there is nothing to share out among them."""
        if self.data.test_samples:
            return
        count = self.around.make_trainer(callbacks=[]).world_size
        if count > 1:
            raise ConfigError(
                f"trainer.devices: expected 1 without test images, got {count}. "
                "Say trainer.devices=1, or add images to test/."
            )

    def _without_test(self, scorer: Scorer, builder: MemoryBankBuilder | None) -> dict[str, Tensor]:
        """Build the banks all the same: a threshold, and predictions, need no test images."""
        if builder:
            scorer.to(self.device())
            builder.fill()
            scorer.cpu()
        return {}

    def device(self) -> torch.device:
        """Return where a Trainer would compute."""
        device: torch.device = self.around.make_trainer(callbacks=[]).strategy.root_device
        return device

    @torch.no_grad()
    def samples(self, plan: Plan) -> dict[str, Tensor]:
        """Return what the stages have to show, by stage and name."""
        device = self.device()
        kept: dict[str, Tensor] = {}
        for stage in plan.fits:
            if stage.has_samples:
                module = stage.module()
                module.to(device)  # Lightning has put it back on the CPU
                with seeded(self.data.seed, EMBEDDINGS):
                    sets = module.samples(self.data)
                module.cpu()
                kept |= {f"{stage.name}.{name}": rows.float() for name, rows in sets.items()}
        return kept

    def log(self, numbers: Mapping[str, float]) -> None:
        """Tell the loggers."""
        if not numbers:  # a logger would make a row, or a step, of nothing
            return
        for logger in self.around.loggers:
            logger.log_metrics(
                {f"{self.prefix}{name}": float(value) for name, value in numbers.items()}
            )
