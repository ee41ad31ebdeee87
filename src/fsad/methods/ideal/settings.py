"""IDEAL's settings and their ranges; the values are in ``conf/method/ideal.yaml``."""

from dataclasses import dataclass

from fsad.errors import (
    check_at_least,
    check_choice,
    check_fraction,
    check_not_negative,
    check_positive,
)
from fsad.functional.intrinsic import OVER

SCORES = {
    "full": "ideal",
    "untrained": "ideal (untrained)",
    "residual": "ideal (residuals alone)",
    "banks": "ideal (two banks)",
    "normal": "ideal (normal alone)",
}
"""What a patch is scored by, and what tables call that."""


@dataclass(frozen=True)
class Fit:
    """How the encoder is trained.

    Attributes:
        epochs: How many, 1 or more; fixed, nothing is chosen by any test.
        episodes: Of an epoch, 1 or more: a query image, and references for it.
        batch: Episodes of a step, 1 or more.
        normal: Normal references of an episode, 1 or more.
        anomalous: Defective references of an episode, 1 or more.
        lr: Highest learning rate of AdamW.
        low: The rate that it starts from and ends at.
        warmup: Epochs of its rise, 0 or more.
        weight_decay: Of AdamW.
        gathering: Weight of the gathering loss.
        orthogonality: Weight of the orthogonality loss.
        over: Which patches the gathering loss is a mean over: ``anomalous``, or ``all`` as
            published.

    Raises:
        ConfigError: A setting is out of range.
    """

    epochs: int
    episodes: int
    batch: int = 16
    normal: int = 1
    anomalous: int = 1
    lr: float = 1e-3
    low: float = 1e-5
    warmup: int = 2
    weight_decay: float = 1e-4
    gathering: float = 1.0
    orthogonality: float = 0.8
    over: str = "anomalous"

    def __post_init__(self) -> None:
        for name in ("epochs", "episodes", "batch", "normal", "anomalous"):
            check_at_least(f"method.fit.{name}", getattr(self, name), 1)
        check_at_least("method.fit.warmup", self.warmup, 0)
        for name in ("lr", "low"):
            check_positive(f"method.fit.{name}", getattr(self, name))
        for name in ("weight_decay", "gathering", "orthogonality"):
            check_not_negative(f"method.fit.{name}", getattr(self, name))
        check_choice("method.fit.over", self.over, OVER)

    @property
    def steps(self) -> int:
        """Steps of an epoch; the last one may have fewer episodes."""
        return -(-self.episodes // self.batch)


@dataclass(frozen=True)
class Variation:
    """How normal variation is found and erased.

    Attributes:
        neighbours: Normal patches that a patch is compared with, k, 1 or more.
        rank: Directions of their variation that are erased, r, 0 or more.
        strength: How much of it, alpha, in [0, 1].

    Raises:
        ConfigError: A setting is out of range.
    """

    neighbours: int = 12
    rank: int = 4
    strength: float = 0.8

    def __post_init__(self) -> None:
        check_at_least("method.variation.neighbours", self.neighbours, 1)
        check_at_least("method.variation.rank", self.rank, 0)
        check_fraction("method.variation.strength", self.strength)
