"""The steps of a method on a category: fits, and the banks between them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import nn

from fsad.data.sampling import Mix
from fsad.engine.scorer import BankScorer
from fsad.errors import ConfigError
from fsad.nn.memory_bank import MemoryBank

if TYPE_CHECKING:  # a finished run scores without Lightning
    from fsad.engine.stage_module import StageModule

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class FitStage:
    """One Lightning fit.

    Attributes:
        name: Names its files and log keys.
        network: What it trains; its state is what the stage leaves.
        module: Makes the LightningModule that trains ``network``. It is called where there is
            something to train or to sample; what is trained scores without it.
        epochs: How many.
        checkpoint_every: Epochs between two checkpoints of the unfinished stage.
        reads: The roles whose images a training step consumes, such as ``("source",)`` or
            ``("shots",)``; none, for one that consumes no images.
        sampling: In which order; see :meth:`~fsad.data.datamodule.DataModule.loader`. ``itself``
            where the module takes the images from the data module when it starts, and an epoch
            is one step.
        depends: The settings of the method that decide what it trains, besides the data, the
            backbone and the stages before it. Runs that agree in these share the result. None is
            all of the method's settings.
        owner: The method that this is the stage of, where another one begins with it: runs of both
            share the result. None is the method that is run.
        scope: ``category`` trains it for each category anew, on its images; ``run`` once, on those
            of all the run's categories.
        has_samples: Whether :meth:`~fsad.engine.stage_module.StageModule.samples` gives features
            for figures.
    """

    name: str
    network: nn.Module
    module: "Callable[[], StageModule]"
    epochs: int
    checkpoint_every: int = 1
    reads: tuple[str, ...] = ()
    sampling: str | Mix = "shuffled"
    depends: Settings | None = None
    owner: str | None = None
    scope: Literal["category", "run"] = "category"
    has_samples: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.reads, str):
            raise ConfigError(
                f"reads: expected several roles, got '{self.reads}'. Say ('{self.reads}',)."
            )


@dataclass(frozen=True)
class BankStage:
    """The memory banks of a scorer, filled when the next fit or the test starts.

    They are built as the stages before left the features: adapters on, noise off; one z-score per
    bank; a greedy coreset.

    Attributes:
        scorer: Whose banks.
        ratios: Share of the patches kept, in (0, 1], by the bank's domain.
        max_rows: See :class:`fsad.nn.bank_stream.BankStream`.
        depends: As of a :class:`FitStage`.

    Source:
        HyperTrans, Algorithm 1, lines 6-9.
    """

    name: ClassVar[Literal["banks"]] = "banks"
    scope: ClassVar[Literal["category"]] = "category"

    scorer: BankScorer
    ratios: Mapping[str, float]
    max_rows: int | None = None
    depends: Settings | None = None

    @property
    def banks(self) -> list[MemoryBank]:
        """The banks that are to be filled."""
        return list(self.scorer.banks.values())


Stage = FitStage | BankStage


def file_of(stage: Stage, folder: Path, suffix: str = ".safetensors") -> Path:
    """Return the file of a stage, whether or not it is there.

    Args:
        stage: The stage.
        folder: The category's folder, ``<run>/categories/<name>``.
        suffix: Of the file.
    """
    return (folder.parents[1] if stage.scope == "run" else folder) / f"{stage.name}{suffix}"
