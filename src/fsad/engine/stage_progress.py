"""One progress bar for a whole stage, whatever its epochs."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from fsad.runtime.progress import Bar


class StageProgress(Callback):
    """Counts a stage's training steps, or a test's batches, with the last loss beside it.

    Args:
        what: The bar's label.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._bar: Bar | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar; a resumed stage starts where it was."""
        self._bar = Bar(self.what, int(trainer.estimated_stepping_batches))

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count a step."""
        assert self._bar is not None
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        self._bar.advance(f"loss {float(loss):.4f}", done=trainer.global_step)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._bar = Bar(self.what, int(sum(trainer.num_test_batches)))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch."""
        assert self._bar is not None
        self._bar.advance()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._close()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away, so that the message stands alone."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
