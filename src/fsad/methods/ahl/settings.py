"""AHL's own settings and their ranges; the values are in ``conf/method/ahl.yaml``."""

from dataclasses import dataclass

from fsad.errors import check_at_least, check_bool, check_choice, check_positive

BASES = ("dra", "devnet")
IMPORTANCES = ("none", "uniform", "lstm")
HEADS = ("new", "base")


@dataclass(frozen=True)
class Outer:
    """How the unified heads are trained.

    Attributes:
        epochs: Outer steps, 1 or more.
        clusters: Of the normal images, 2 or more; each ordered pair is a task.
        inner_steps: Gradient steps of a task's heads on its support images, 1 or more.
        normals: Normal images of a batch, 1 or more.
        pseudo: Pseudo anomalies of a batch, 1 or more.
        anomalies: Seen anomalies of a batch, 1 or more.
        inner_lr: Learning rate of the inner steps, without momentum.
        lr: Of Adam in the outer step.
        drop_every: Epochs after which that rate falls to a tenth, 1 or more.
        clip: Largest norm of the outer gradient.
        second_order: Whether the outer gradient goes through the inner steps.
        heads: ``new`` ones, as in the paper, or those of the ``base`` model to start from.

    Raises:
        ConfigError: A setting is out of range.
    """

    epochs: int
    inner_steps: int
    normals: int
    pseudo: int
    anomalies: int
    clusters: int = 3
    inner_lr: float = 2e-4
    lr: float = 2e-3
    drop_every: int = 10
    clip: float = 1.0
    second_order: bool = False
    heads: str = "new"

    def __post_init__(self) -> None:
        for name in ("epochs", "inner_steps", "normals", "pseudo", "anomalies", "drop_every"):
            check_at_least(f"method.outer.{name}", getattr(self, name), 1)
        check_at_least("method.outer.clusters", self.clusters, 2)
        for name in ("inner_lr", "lr", "clip"):
            check_positive(f"method.outer.{name}", getattr(self, name))
        check_bool("method.outer.second_order", self.second_order)
        check_choice("method.outer.heads", self.heads, HEADS)
