"""A checkpoint of an unfinished stage, replaced every few epochs."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from fsad.storage.tensors import atomic


class StageCheckpoint(Callback):
    """Keep one checkpoint of the stage, never half written, and the seconds spent so far.

    Args:
        path: The checkpoint file.
        every: Epochs between two checkpoints.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self.seconds = 0.0
        self._since = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._since = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, if it is time; the last epoch needs none, the stage's result follows."""
        done = trainer.current_epoch + 1
        if done % self.every == 0 and done != trainer.max_epochs:
            # Every process takes part, and the first one writes.
            with atomic(self.path) if trainer.is_global_zero else nullcontext(self.path) as partial:
                trainer.save_checkpoint(partial)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._tick()

    def state_dict(self) -> dict[str, Any]:
        """Store the seconds in the checkpoint."""
        self._tick()
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the seconds stored."""
        self.seconds = state_dict["seconds"]

    def _tick(self) -> None:
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now
