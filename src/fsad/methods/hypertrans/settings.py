"""HyperTrans' settings and their ranges; the values are in ``conf/method/hypertrans.yaml``."""

from dataclasses import dataclass
from typing import Annotated

from fsad.engine.settings import MAPS, SCORES, STAGES, Affects
from fsad.errors import (
    ConfigError,
    check_at_least,
    check_bool,
    check_choice,
    check_fraction,
    check_positive,
)

AUTO = "auto"


@dataclass(frozen=True)
class Stages:
    """Which parts are on; all off is a plain target bank, the first row of the paper's Table 3.

    Attributes:
        perturb: Train adapters against perturbed styles (eqs. 3-7).
        rectify: Train and apply the hypergraph rectifier (eqs. 8-11).
        cross_domain: Fuse source and target scores (eqs. 18-19); off scores by the target alone.
    """

    perturb: Annotated[bool, Affects(STAGES)] = True
    rectify: Annotated[bool, Affects(STAGES)] = True
    cross_domain: Annotated[bool, Affects(MAPS)] = True

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_bool(f"method.stages.{name}", value)


@dataclass(frozen=True)
class Perturb:
    """Stage ``perturb``.

    Attributes:
        std: Standard deviation of the perturbation factors.
        hidden: Bottleneck of the adapters.
        lr: Learning rate of Adam.
        epochs: Passes over the source images.
    """

    std: float = 0.75
    hidden: int = 64
    lr: float = 1e-4
    epochs: int = 3

    def __post_init__(self) -> None:
        check_positive("method.perturb.std", self.std)
        check_at_least("method.perturb.hidden", self.hidden, 1)
        check_positive("method.perturb.lr", self.lr)
        check_at_least("method.perturb.epochs", self.epochs, 1)


@dataclass(frozen=True)
class Banks:
    """Memory banks.

    Attributes:
        source_ratio: Share of the source patches kept by the coreset, in (0, 1].
        target_ratio: Share of the target patches kept, in (0, 1].
    """

    source_ratio: float = 0.1
    target_ratio: float = 1.0

    def __post_init__(self) -> None:
        for name in ("source_ratio", "target_ratio"):
            check_positive(f"method.banks.{name}", getattr(self, name))
            check_fraction(f"method.banks.{name}", getattr(self, name))


@dataclass(frozen=True)
class Rectify:
    """Stage ``rectify``.

    Attributes:
        hidden: Width of the rectifier's hidden layer.
        dropout: Dropout on that layer, in [0, 1).
        scale: Distance at which membership is one half: ``one`` (the paper) or ``median`` (of the
            banks' neighbour distances).
        lr: Learning rate of Adam.
        epochs: Steps, each over the whole hypergraph.
    """

    hidden: int = 1024
    dropout: float = 0.5
    scale: str = "one"
    lr: float = 1e-3
    epochs: int = 100

    def __post_init__(self) -> None:
        check_at_least("method.rectify.hidden", self.hidden, 1)
        if check_fraction("method.rectify.dropout", self.dropout) == 1:
            raise ConfigError("method.rectify.dropout: expected a number below 1, got 1")
        check_choice("method.rectify.scale", self.scale, ("one", "median"))
        check_positive("method.rectify.lr", self.lr)
        check_at_least("method.rectify.epochs", self.epochs, 1)


@dataclass(frozen=True)
class Extensions:
    """What goes beyond the paper; all off is the paper's method.

    Attributes:
        excess: Subtract the part of the RGB distance that similar normal depth patches also show:
            there the sensors differ on a good part too.
        rotations: Rotated copies of each shot in the target bank, evenly spread over a turn;
            ``auto``: one if the source images always have the same orientation, else four.
    """

    excess: Annotated[bool, Affects(SCORES)] = False
    rotations: Annotated[int | str, Affects("banks")] = 1

    def __post_init__(self) -> None:
        check_bool("method.plus.excess", self.excess)
        if self.rotations != AUTO:
            _check_rotations(self.rotations)


def _check_rotations(value: int | str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"method.plus.rotations: expected {AUTO} or a whole number of at least 1, got {value!r}"
        )
