"""What a method hands to the pipeline: its stages in order and the module that scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lightning import Callback, LightningModule
from torch import Tensor

from fsad.nn.extractor import PatchExtractor


class StageModule(Protocol):
    """What the pipeline asks of a stage's module besides being a LightningModule."""

    prefix: str
    diagnostics: Any

    def trained_state(self) -> dict[str, Tensor]:
        """Return what the stage trained."""
        ...

    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`trained_state` returned."""
        ...


@dataclass(frozen=True)
class Stage:
    """One fit.

    Attributes:
        name: Names its files and log keys.
        module: The LightningModule; also a :class:`StageModule`.
        epochs: How many.
        checkpoint_every: Epochs between two checkpoints of the unfinished stage.
    """

    name: str
    module: LightningModule
    epochs: int
    checkpoint_every: int


@dataclass(frozen=True)
class Plan:
    """One category's run.

    Attributes:
        stages: The fits, in order.
        scorer: The LightningModule whose test loop scores; it has ``scored``,
            ``source_bank`` and ``target_bank``.
        builder: The callback that fills the scorer's banks when a stage or the test starts.
    """

    stages: list[Stage]
    scorer: LightningModule
    builder: Callback


class Method(Protocol):
    """A few-shot method."""

    name: str

    def plan(self, extractor: PatchExtractor, banks_path: Path) -> Plan:
        """Lay out one category's run around a frozen backbone."""
        ...
