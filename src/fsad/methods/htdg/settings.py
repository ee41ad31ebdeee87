"""HTDG's settings and their ranges; the values are in ``conf/method/htdg.yaml``."""

from dataclasses import dataclass

from fsad.errors import check_at_least, check_not_negative, check_positive

PUBLISHED = 2000
"""Iterations of each scale with four rotations; 1000 with all 54 transforms."""


@dataclass(frozen=True)
class Fit:
    """How each scale's networks are trained.

    Attributes:
        epochs: How many, 1 or more.
        iterations: Of an epoch, 1 or more; a scale that is broken goes on after its last epoch.
        steps: Of the discriminator, and as many of the generator, in an iteration, 1 or more.
        lr: Learning rate of Adam, of both.
        beta: First moment's decay of Adam, in [0, 1).
        drop_discriminator: Iteration from which the discriminator's rate is a tenth.
        drop_generator: And the generator's.
        reconstruction: Weight of the generator's loss of the training images.
        noise: Strength of the noise, as a share of what coarser scales leave undone.

    Raises:
        ConfigError: A setting is out of range.
    """

    epochs: int
    iterations: int
    steps: int = 3
    lr: float = 5e-4
    beta: float = 0.5
    drop_discriminator: int = 500
    drop_generator: int = 1000
    reconstruction: float = 100.0
    noise: float = 0.1

    def __post_init__(self) -> None:
        for name in ("epochs", "iterations", "steps"):
            check_at_least(f"method.fit.{name}", getattr(self, name), 1)
        for name in ("drop_discriminator", "drop_generator"):
            check_at_least(f"method.fit.{name}", getattr(self, name), 0)
        check_positive("method.fit.lr", self.lr)
        for name in ("beta", "reconstruction", "noise"):
            check_not_negative(f"method.fit.{name}", getattr(self, name))

    @property
    def whole(self) -> int:
        """Iterations of a scale."""
        return self.epochs * self.iterations
