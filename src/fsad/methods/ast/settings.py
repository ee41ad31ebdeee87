"""AST's settings and their ranges; the values are in ``conf/method/ast.yaml``."""

from collections.abc import Sequence
from dataclasses import dataclass

from fsad.errors import check_at_least, check_odd, check_positive


@dataclass(frozen=True)
class Teacher:
    """The normalising flow.

    Attributes:
        hidden: Channels of its convolutions.
        kernels: Their sizes, odd, one for each block.
        clamp: Bound of a block's log-scales.
        epochs: Passes over the shots; a step each where they fit a batch.
    """

    hidden: int = 64
    kernels: Sequence[int] = (3, 3, 3, 5)
    clamp: float = 1.9
    epochs: int = 1872

    def __post_init__(self) -> None:
        check_at_least("method.teacher.hidden", self.hidden, 1)
        for kernel in self.kernels:
            check_odd("method.teacher.kernels", kernel)
        check_positive("method.teacher.clamp", self.clamp)
        check_at_least("method.teacher.epochs", self.epochs, 1)


@dataclass(frozen=True)
class Student:
    """The convolutional network.

    Attributes:
        hidden: Channels of its blocks.
        blocks: Residual blocks.
        epochs: As the teacher's.
    """

    hidden: int = 1024
    blocks: int = 4
    epochs: int = 1872

    def __post_init__(self) -> None:
        check_at_least("method.student.hidden", self.hidden, 1)
        check_at_least("method.student.blocks", self.blocks, 1)
        check_at_least("method.student.epochs", self.epochs, 1)
