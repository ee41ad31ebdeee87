"""What a method hands to the engine: its stages in order, and what scores after them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from fsad.engine.scorer import Scorer
from fsad.engine.stage import BankStage, FitStage, Settings, Stage
from fsad.errors import ConfigError
from fsad.nn.extractor import PatchExtractor
from fsad.nn.settings import Size
from fsad.scores.combination import Combination

BackboneMaker = Callable[..., PatchExtractor]
"""Builds the configured backbone; keywords are for settings that the configuration leaves null."""
ALONE = Combination()
"""Of one part, which is the whole score."""


TAKEN = ("patch_scores", "embeddings", "test", "metrics")
"""Names that files and seconds of a category have without a stage."""


class HoldOut(Enum):
    """How a shot is scored as if it were a new image, for the threshold.

    ``REBANK``: against a target bank of the other shots. ``UNSEEN``: as it is, for the method has
    never seen it. ``NONE``: not at all, for it was trained on.
    """

    REBANK = "rebank"
    UNSEEN = "unseen"
    NONE = "none"


@dataclass(frozen=True)
class Plan:
    """One category's run.

    Attributes:
        stages: The fits and the banks, in order.
        scorer: What scores when they are over.
        combination: How the parts of the score become one.
        sigma: Blur of the anomaly maps in pixels.
        held_out: How a shot is scored for the threshold.
        scores_depend: As ``depends`` of a stage, for the patch scores; combination and sigma
            come after them.

    Raises:
        ConfigError: Two stages have one name, or one that is taken; or a stage that is trained once
            per run follows one of each category.
    """

    stages: Sequence[Stage]
    scorer: Scorer
    combination: Combination = ALONE
    sigma: float = 4.0
    held_out: HoldOut = HoldOut.REBANK
    scores_depend: Settings | None = None

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if len({*names, *TAKEN}) < len(names) + len(TAKEN):
            raise ConfigError(
                f"stages: expected different names, none of {', '.join(TAKEN)}, got "
                f"{', '.join(names)}"
            )
        of_run = [stage.scope == "run" for stage in self.stages]
        if of_run != sorted(of_run, reverse=True):
            raise ConfigError(
                "stages: expected those that are trained once per run first, got one after a "
                "stage of each category, which it would take from the first"
            )

    @property
    def fits(self) -> list[FitStage]:
        """The stages that train."""
        return [stage for stage in self.stages if isinstance(stage, FitStage)]

    @property
    def bank_stage(self) -> BankStage | None:
        """The stage that fills the banks; None where the scorer has none."""
        return next((stage for stage in self.stages if isinstance(stage, BankStage)), None)


class Method(ABC):
    """A few-shot method.

    Attributes:
        name: What it is called.
        modalities: In which modalities its images may be tested; empty: in any.
        squares: Whether its images have to fill a square: it rotates them, or learns from all of a
            canvas, also from what is beside an image.
    """

    name: str
    modalities: ClassVar[tuple[str, ...]] = ()
    squares: ClassVar[bool] = False

    def build_extractor(
        self,
        image_size: Size,  # noqa: ARG002
        backbone: BackboneMaker,
    ) -> PatchExtractor:
        """Return the features that the method sees: here the configured backbone.

        A method that is about features of its own returns these, and does not call ``backbone``.

        Args:
            image_size: Height and width of the images, pixels; one number is both.
            backbone: Builds the configured backbone, for images of this size.
        """
        return backbone()

    def refuse_modality(self, modality: str) -> None:
        """Refuse to be tested on images that the method says nothing about.

        Args:
            modality: Of the tested images.

        Raises:
            ConfigError: It is not among :attr:`modalities`.
        """
        if self.modalities and modality not in self.modalities:
            made_for = " or ".join(self.modalities)
            raise ConfigError(
                f"data.modality: expected {made_for}, which method {self.name} is made for, got "
                f"{modality}. Choose another method, or data that has {made_for}."
            )

    @abstractmethod
    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run.

        Args:
            extractor: What :meth:`build_extractor` returned, shared between categories.
        """
