"""What AST trains and how it scores: where student and teacher disagree is anomalous."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from fsad.engine.scorer import Scorer
from fsad.functional.foreground import dilated
from fsad.methods.ast.foreground import foreground
from fsad.methods.ast.settings import Student, Teacher
from fsad.nn.adapter import CachedExtractor
from fsad.nn.alone import image_by_image
from fsad.nn.extractor import PatchExtractor
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


def cells_of(extractor: CachedExtractor, images: Tensor, threshold: float) -> Cells:
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


def new_teacher(features: PatchExtractor, settings: Teacher, seed: int) -> Flow:
    """Make the flow, untrained.

    Args:
        features: Whose channels and grid it is for.
        settings: Of the flow.
        seed: Of the weights.
    """
    return Flow(
        features.channels,
        features.grid,
        settings.hidden,
        tuple(settings.kernels),
        settings.clamp,
        CONDITION,
        seed,
    )


class StudentNetwork(nn.Module):
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


class AstScorer(Scorer):
    """Scores a cell by how far the student is from the teacher.

    Args:
        extractor: Gives depth by cells.
        teacher: The flow.
        student: Its student.
        threshold: Of the foreground.
    """

    def __init__(
        self, extractor: CachedExtractor, teacher: Flow, student: StudentNetwork, threshold: float
    ) -> None:
        super().__init__(extractor)
        self.teacher, self.student, self.threshold = teacher, student, threshold

    def disagreement(self, images: Tensor) -> Tensor:
        """Return the mean squared difference of the two in each cell that counts, else 0."""
        cells = cells_of(self.extractor, images, self.threshold)
        with torch.no_grad():
            wanted, _ = self.teacher(cells.depth)
        differences: Tensor = (self.student(cells.depth) - wanted).square().mean(dim=1)
        return cells.counts * differences

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Score images by the disagreement in each cell."""
        return {"target": image_by_image(self.disagreement, images)}
