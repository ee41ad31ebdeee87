"""What a method hands to the pipeline: its stages in order and the module that scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from fsad.data.datamodule import DataModule
from fsad.engine.bank_builder import MemoryBankBuilder
from fsad.engine.stage_module import ScoringModule, StageModule
from fsad.nn.extractor import PatchExtractor

Settings = Mapping[str, Any]
Embeddings = Callable[[DataModule], Mapping[str, Tensor]]
"""(training images and shots) -> sets of features ``(r, c)`` by name, for figures."""


@dataclass(frozen=True)
class Stage:
    """One fit.

    Attributes:
        name: Names its files and log keys.
        module: What trains.
        epochs: How many.
        checkpoint_every: Epochs between two checkpoints of the unfinished stage.
        depends: The settings of the method that decide what it trains, besides the data, the
            backbone and the stages before it. Runs that agree in these share the result. None is
            all of the method's settings.
        embeddings: Called when the category is tested, the banks are filled and the module is on
            its device; what it returns is kept. None where there is nothing to show.
    """

    name: str
    module: StageModule
    epochs: int
    checkpoint_every: int
    depends: Settings | None = None
    embeddings: Embeddings | None = None


@dataclass(frozen=True)
class Plan:
    """One category's run.

    Attributes:
        stages: The fits, in order.
        scorer: The module whose test loop scores; it may also be a stage's.
        builder: Fills the scorer's banks when its stage, or else the test, starts.
        beta: Share of the source domain in the fused score.
        sigma: Blur of the anomaly maps in pixels.
        banks_depend: As ``depends`` of a stage, for the banks.
        scores_depend: The same for the patch scores; beta and sigma come after them.
    """

    stages: list[Stage]
    scorer: ScoringModule
    builder: MemoryBankBuilder
    beta: float
    sigma: float = 4.0
    banks_depend: Settings | None = None
    scores_depend: Settings | None = None


class Method(Protocol):
    """A few-shot method.

    One that is about features of its own has a method ``own_extractor(image_size)`` besides, and
    gets what that returns instead of the configured backbone.
    """

    name: str

    def plan(self, extractor: PatchExtractor, banks_path: Path) -> Plan:
        """Lay out one category's run around a frozen backbone."""
        ...
