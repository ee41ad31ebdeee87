"""Stages ``teacher`` and ``student``, and the test loop: where they disagree is anomalous."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from fsad.checkpoint import check_loss
from fsad.data.pairs import ImageBatch
from fsad.methods.ast.settings import Student, Teacher
from fsad.nn.adapter import AdaptedExtractor
from fsad.nn.flow import Flow
from fsad.randomness import seeded
from fsad.stage_module import ScoringModule, StageModule

CENTRE, SPREAD = 0.5, 0.25  # of depth images, whose part lies in [0.1, 0.9]
CONDITION = 32  # channels of the position encoding


def cells_of(extractor: AdaptedExtractor, images: Tensor) -> Tensor:
    """Return depth by cells, about standardised, ``(n, 64, h, w)``."""
    cells: Tensor = (extractor(images, "target") - CENTRE) / SPREAD
    return cells


class TeacherModule(StageModule):
    r"""Train the flow to make normal depth a standard normal distribution.

    .. math:: L = \frac{1}{c} \Big( \tfrac{1}{2} \|z\|^2 - \log |\det J| \Big)

    averaged over positions, with c the channels: the negative log-likelihood but for a constant.

    Args:
        extractor: Gives depth by cells.
        settings: Of the flow.
        lr: Learning rate of Adam.
        weight_decay: Of Adam.
        seed: Of the weights.

    Source:
        Rudolph et al., AST (WACV 2023), eq. (3).
    """

    train_domains = ("target",)

    def __init__(
        self,
        extractor: AdaptedExtractor,
        settings: Teacher,
        lr: float,
        weight_decay: float,
        seed: int,
    ) -> None:
        super().__init__(extractor)
        self.lr, self.weight_decay = lr, weight_decay
        features = extractor.extractor
        self.flow = Flow(
            features.channels,
            features.grid,
            settings.hidden,
            tuple(settings.kernels),
            settings.clamp,
            CONDITION,
            seed,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over the flow."""
        parameters = self.flow.parameters()
        return torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)

    def training_step(self, batch: ImageBatch) -> Tensor:
        """Return the loss of some shots."""
        z, volume = self.flow(cells_of(self.extractor, batch.image))
        likelihood = (0.5 * z.square().sum(dim=1) - volume).mean() / z.shape[1]
        loss = check_loss("teacher loss", likelihood, self.global_step)
        self.log(f"{self.prefix}teacher/loss", loss, prog_bar=True)
        return loss

    def trained_state(self) -> dict[str, Tensor]:
        """Return the flow's weights."""
        return dict(self.flow.state_dict())

    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`trained_state` returned."""
        self.flow.load_state_dict(state)


class Imitator(nn.Module):
    """A plain convolutional network: it cannot but generalise otherwise than a bijection.

    Args:
        channels: Of the features.
        grid: Height and width of the maps.
        settings: Width and depth.
        seed: Of the weights.
    """

    position: Tensor

    def __init__(self, channels: int, position: Tensor, settings: Student, seed: int) -> None:
        super().__init__()
        self.register_buffer("position", position.clone(), persistent=False)
        hidden = settings.hidden
        with seeded(seed, "student"):
            self.enter = nn.Conv2d(channels + position.shape[1], hidden, 3, padding=1)
            self.blocks = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(hidden, hidden, 3, padding=1),
                    nn.BatchNorm2d(hidden),
                    nn.LeakyReLU(),
                    nn.Conv2d(hidden, hidden, 3, padding=1),
                    nn.BatchNorm2d(hidden),
                    nn.LeakyReLU(),
                )
                for _ in range(settings.blocks)
            )
            self.leave = nn.Conv2d(hidden, channels, 1)

    def forward(self, cells: Tensor) -> Tensor:
        """Return maps of the cells' shape."""
        position = self.position.expand(cells.shape[0], -1, -1, -1)
        features = nn.functional.leaky_relu(self.enter(torch.cat([cells, position], dim=1)))
        for block in self.blocks:
            features = features + block(features)
        out: Tensor = self.leave(features)
        return out


class StudentModule(ScoringModule):
    """Train the student to say what the teacher says, then score where it does not.

    Args:
        extractor: Gives depth by cells.
        teacher: The flow, trained by then.
        settings: Of the student.
        lr: Learning rate of Adam.
        weight_decay: Of Adam.
        seed: Of the weights.

    Source:
        Rudolph et al., AST (WACV 2023), eqs. (4)-(6), without its foreground mask.
    """

    train_domains = ("target",)

    def __init__(
        self,
        extractor: AdaptedExtractor,
        teacher: TeacherModule,
        settings: Student,
        lr: float,
        weight_decay: float,
        seed: int,
    ) -> None:
        super().__init__(extractor)
        self.lr, self.weight_decay = lr, weight_decay
        self.teacher = teacher.flow
        channels = extractor.extractor.channels
        self.student = Imitator(channels, teacher.flow.position, settings, seed)

    def setup(self, stage: str) -> None:  # noqa: ARG002 (Lightning's signature)
        """Leave the teacher as it is."""
        self.teacher.requires_grad_(False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over the student."""
        parameters = self.student.parameters()
        return torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)

    def _both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        cells = cells_of(self.extractor, images)
        with torch.no_grad():
            wanted, _ = self.teacher(cells)
        return self.student(cells), wanted

    def training_step(self, batch: ImageBatch) -> Tensor:
        """Return how far the student is from the teacher on some shots."""
        loss = check_loss("student loss", mse_loss(*self._both(batch.image)), self.global_step)
        self.log(f"{self.prefix}student/loss", loss, prog_bar=True)
        return loss

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Score images by the mean squared disagreement of each cell."""
        said, wanted = self._both(images)
        return {"target": (said - wanted).square().mean(dim=1)}

    def trained_state(self) -> dict[str, Tensor]:
        """Return the student's weights and running statistics."""
        return dict(self.student.state_dict())

    def load_trained_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`trained_state` returned."""
        self.student.load_state_dict(state)
