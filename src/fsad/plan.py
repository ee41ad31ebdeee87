"""What a method hands to the pipeline: its stages in order and the module that scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fsad.callbacks.bank_builder import MemoryBankBuilder
from fsad.nn.extractor import PatchExtractor
from fsad.stage_module import ScoringModule, StageModule


@dataclass(frozen=True)
class Stage:
    """One fit.

    Attributes:
        name: Names its files and log keys.
        module: What trains.
        epochs: How many.
        checkpoint_every: Epochs between two checkpoints of the unfinished stage.
    """

    name: str
    module: StageModule
    epochs: int
    checkpoint_every: int


@dataclass(frozen=True)
class Plan:
    """One category's run.

    Attributes:
        stages: The fits, in order.
        scorer: The module whose test loop scores; it may also be a stage's.
        builder: Fills the scorer's banks when its stage, or else the test, starts.
    """

    stages: list[Stage]
    scorer: ScoringModule
    builder: MemoryBankBuilder


class Method(Protocol):
    """A few-shot method."""

    name: str

    def plan(self, extractor: PatchExtractor, banks_path: Path) -> Plan:
        """Lay out one category's run around a frozen backbone."""
        ...
