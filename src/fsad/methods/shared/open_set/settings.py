"""Settings of the methods that learn from labelled anomalies, and their ranges."""

from dataclasses import dataclass

from fsad.data.sampling import Mix
from fsad.errors import check_at_least, check_bool, check_choice, check_not_negative, check_positive

TRUNKS = ("trained", "frozen")


@dataclass(frozen=True)
class Fit:
    """How trunk and heads are trained.

    Attributes:
        epochs: How many, 1 or more.
        steps: Batches of an epoch, 1 or more.
        normals: Normal images of a batch, 1 or more; half of them become pseudo anomalies where
            the method has some.
        anomalies: Seen anomalies of a batch, 1 or more.
        lr: Learning rate of Adam.
        weight_decay: Of Adam.
        drop_every: Epochs after which the learning rate falls to a tenth, 1 or more.
        clip: Largest norm of the gradient.
        rotate: Whether each image is rotated by an angle of its own, up to a half turn either way.

    Raises:
        ConfigError: A setting is out of range.
    """

    epochs: int
    steps: int
    normals: int
    anomalies: int
    lr: float = 2e-4
    weight_decay: float = 1e-5
    drop_every: int = 10
    clip: float = 1.0
    rotate: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "normals", "anomalies", "drop_every"):
            check_at_least(f"method.fit.{name}", getattr(self, name), 1)
        check_positive("method.fit.lr", self.lr)
        check_not_negative("method.fit.weight_decay", self.weight_decay)
        check_positive("method.fit.clip", self.clip)
        check_bool("method.fit.rotate", self.rotate)

    @property
    def mix(self) -> Mix:
        """What a batch and an epoch consist of."""
        return Mix(self.normals, self.anomalies, self.steps)


@dataclass(frozen=True)
class Loss:
    """The deviation loss.

    Attributes:
        margin: How many deviations an anomaly shall lie above the prior's mean.
        prior: Draws of the prior N(0, 1) of a step, whose mean and deviation are used, 2
            or more; 0: its own.
    """

    margin: float
    prior: int

    def __post_init__(self) -> None:
        check_positive("method.margin", self.margin)
        check_at_least("method.prior", self.prior, 0)
        if self.prior:
            check_at_least("method.prior", self.prior, 2)  # of one alone there is no deviation


def named(name: str, trunk: str) -> str:
    """Return what a method is called in every table: a frozen trunk is no part of the paper's.

    Args:
        name: With a trained trunk.
        trunk: Of :data:`TRUNKS`.

    Raises:
        ConfigError: ``trunk`` is none of them.
    """
    is_frozen = check_choice("method.trunk", trunk, TRUNKS) == "frozen"
    return f"{name} (frozen trunk)" if is_frozen else name
