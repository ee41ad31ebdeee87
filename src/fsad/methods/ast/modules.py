"""Stages ``teacher`` and ``student``, and the test loop: where they disagree is anomalous."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from fsad.data.batch import ImageBatch
from fsad.engine.checkpoint import check_loss
from fsad.engine.stage_module import ScoringModule, StageModule
from fsad.functional.foreground import dilated
from fsad.methods.ast.foreground import foreground
from fsad.methods.ast.settings import Student, Teacher
from fsad.nn.adapter import AdaptedExtractor
from fsad.nn.alone import image_by_image
from fsad.nn.flow import Flow
from fsad.runtime.randomness import seeded

SPREAD = 0.25  # of depth images, whose values lie in [0.1, 0.9]
CONDITION = 32  # channels of the position encoding


class Cells(NamedTuple):
    """Depth by cells.

    Attributes:
        depth: Less the foreground's mean, about standardised; 0 beside it, ``(n, 64, h, w)``.
        counts: Whether a cell counts: it or a neighbour shows foreground, ``(n, h, w)``, 0 or 1.
    """

    depth: Tensor
    counts: Tensor


def cells_of(extractor: AdaptedExtractor, images: Tensor, threshold: float) -> Cells:
    """Cut depth images into cells.

    Args:
        extractor: Gives a cell's pixels as its channels.
        images: ``(n, 3, S, S)``, values in [0, 1].
        threshold: What differs more from the corners' plane is foreground.
    """
    depth = extractor(images, "target")  # (n, 64, h, w)
    cell = images.shape[-1] // depth.shape[-1]
    pixels = pixel_unshuffle(foreground(images.mean(dim=1), threshold)[:, None].float(), cell)
    mean = (depth * pixels).sum(dim=(1, 2, 3)) / pixels.sum(dim=(1, 2, 3))
    depth = (depth - mean[:, None, None, None]) * pixels / SPREAD
    return Cells(depth, dilated(pixels.amax(dim=1)))


class TeacherModule(StageModule):
    r"""Train the flow to make normal depth a standard normal distribution.

    .. math:: L = \frac{m}{c} \Big( \tfrac{1}{2} \|z\|^2 - \log |\det J| \Big)

    averaged over positions, with c the channels and m whether a cell counts: the negative
    log-likelihood but for a constant.

    Args:
        extractor: Gives depth by cells.
        threshold: Of the foreground.
        settings: Of the flow.
        lr: Learning rate of Adam.
        weight_decay: Of Adam.
        seed: Of the weights.

    Source:
        Rudolph et al., AST (WACV 2023), eq. (3).
    """

    reads = ("shots",)

    def __init__(
        self,
        extractor: AdaptedExtractor,
        threshold: float,
        settings: Teacher,
        lr: float,
        weight_decay: float,
        seed: int,
    ) -> None:
        super().__init__(extractor)
        self.threshold = threshold
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
        cells = cells_of(self.extractor, batch.image, self.threshold)
        z, volume = self.flow(cells.depth)
        likelihood = cells.counts * (0.5 * z.square().sum(dim=1) - volume)
        loss = check_loss("teacher loss", likelihood.mean() / z.shape[1], self.global_step)
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
        teacher: The flow, trained by then, and its foreground.
        settings: Of the student.
        lr: Learning rate of Adam.
        weight_decay: Of Adam.
        seed: Of the weights.

    Source:
        Rudolph et al., AST (WACV 2023), eqs. (4)-(6).
    """

    reads = ("shots",)

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
        self.teacher, self.threshold = teacher.flow, teacher.threshold
        channels = extractor.extractor.channels
        self.student = Imitator(channels, teacher.flow.position, settings, seed)

    def setup(self, stage: str) -> None:  # noqa: ARG002 (Lightning's signature)
        """Leave the teacher as it is."""
        self.teacher.requires_grad_(False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over the student."""
        parameters = self.student.parameters()
        return torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)

    def _disagreement(self, images: Tensor) -> Tensor:
        """Return the mean squared difference of the two in each cell that counts, else 0."""
        cells = cells_of(self.extractor, images, self.threshold)
        with torch.no_grad():
            wanted, _ = self.teacher(cells.depth)
        differences: Tensor = (self.student(cells.depth) - wanted).square().mean(dim=1)
        return cells.counts * differences

    def training_step(self, batch: ImageBatch) -> Tensor:
        """Return how far the student is from the teacher on some shots."""
        distance = self._disagreement(batch.image).mean()
        loss = check_loss("student loss", distance, self.global_step)
        self.log(f"{self.prefix}student/loss", loss, prog_bar=True)
        return loss

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Score images by the disagreement in each cell."""
        return {"target": image_by_image(self._disagreement, images)}

    def trained_state(self) -> dict[str, Tensor]:
        """Return the student's weights and running statistics."""
        return dict(self.student.state_dict())

    def load_trained_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`trained_state` returned."""
        self.student.load_state_dict(state)
