"""Dense distillation: a small vision transformer learns the patch features of a larger network."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from fsad.checkpoint import check_loss
from fsad.errors import check_shape
from fsad.nn.extractor import PatchExtractor
from fsad.nn.weights import pixel_statistics
from fsad.randomness import generator, seeded

log = logging.getLogger(__name__)

RELATED = 1024  # patches of a batch whose distances to one another are compared


def relation_loss(features: Tensor, targets: Tensor) -> Tensor:
    r"""Compare how far patches lie from one another in two spaces.

    With :math:`d_{ij}` the distances of one space and :math:`\bar d` their mean:

    .. math:: \frac{1}{m^2} \sum_{ij} \Big(\frac{d^s_{ij}}{\bar d^s}
        - \frac{d^t_{ij}}{\bar d^t}\Big)^2

    A memory bank scores by distances: these have to be learnt, not the features as such.

    Laws: 0 if the two spaces are one but for rotation, shift and scale; never below 0.

    Args:
        features: The student's, ``(m, c)``.
        targets: The teacher's, ``(m, d)``; get no gradient.

    Returns:
        A scalar, 0 or more; lower = better.

    Source:
        Park et al., Relational Knowledge Distillation, CVPR 2019, eqs. (4)-(6), with a square in
        place of Huber's function.
    """
    m = check_shape("features", features, "m c")["m"]
    check_shape("targets", targets, "m d", m=m)
    with torch.no_grad():
        wanted = torch.cdist(targets, targets)
        wanted /= wanted.mean()
    squares = features.square().sum(dim=1)
    products = features @ features.T
    # Not cdist: its gradient at distance 0 is what is never looked at here, the diagonal's.
    apart = (squares[:, None] + squares - 2 * products).clamp(min=1e-6).sqrt()
    return mse_loss(apart / apart.mean(), wanted)


class Distillation(LightningModule):
    r"""Train the student's last block to say what the teacher's stages say, patch by patch.

    .. math:: L = \operatorname{MSE}\Big(A f_s, \frac{f_t - \mu}{\sigma}\Big)
        + \lambda \, L_{relation}\Big(f_s, \frac{f_t - \mu}{\sigma}\Big)

    with :math:`f_s` the student's patch features behind its last norm, :math:`f_t` the teacher's,
    :math:`\mu, \sigma` one mean and deviation per channel over the first batch, and A a linear
    layer that is thrown away afterwards.

    Args:
        student: A vision transformer of timm that takes images of any size.
        teachers: The network that it learns from, for each size of image; frozen.
        steps: Optimiser steps in all; the rate rises for a twentieth of them, then falls as a
            cosine to 0.
        lr: Highest learning rate of AdamW.
        weight_decay: Of AdamW, on matrices alone.
        relation: :math:`\lambda`.
        seed: Seed of the linear layer and of the choice of patches.

    Attributes:
        losses: By epoch: ``regression``, ``relation`` and ``explained``, the share of the teacher's
            variance that the student says.
    """

    mean: Tensor
    std: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        student: Any,  # timm's vision transformers have no types
        teachers: Mapping[int, PatchExtractor],
        steps: int,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        relation: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.student = student
        self._teachers = dict(teachers)  # a dict, so that checkpoints do not hold them
        self.steps, self.lr, self.weight_decay = steps, lr, weight_decay
        self.relation, self.seed = relation, seed
        channels = next(iter(teachers.values())).channels
        with seeded(seed, "pretrain", "head"):
            self.head = nn.Linear(self.student.embed_dim, channels)
        for name, values in pixel_statistics(student).items():
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1))
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("spread", torch.zeros(channels))
        self.losses: list[dict[str, float]] = []
        self._seen: list[Tensor] = []

    def features(self, images: Tensor) -> Tensor:
        """Extract the student's patch features ``(n, h·w, c)`` of images ``(n, 3, H, W)``."""
        tokens = self.student.forward_features((images - self.mean) / self.std)
        patches: Tensor = tokens[:, self.student.num_prefix_tokens :].float()
        return patches

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """Extract the teacher's patch features ``(n, h·w, d)``, normalised by channel."""
        wanted = self._teachers[images.shape[-1]](images).flatten(2).transpose(1, 2)
        if not bool(self.spread.any()):
            rows = wanted.flatten(0, 1)
            self.centre.copy_(rows.mean(dim=0))
            self.spread.copy_(rows.std(dim=0).clamp(min=1e-6))
        normalised: Tensor = (wanted - self.centre) / self.spread
        return normalised

    def on_fit_start(self) -> None:
        """Bring the teachers to the student's device."""
        for teacher in self._teachers.values():
            teacher.to(self.device)

    def training_step(self, batch: Tensor) -> Tensor:
        """Return L of one batch of images ``(n, 3, H, W)`` in [0, 1]."""
        wanted = self.targets(batch).flatten(0, 1)
        found = self.features(batch).flatten(0, 1)
        regression = mse_loss(self.head(found), wanted)
        some = generator(self.seed, "pretrain", "patches", self.global_step).choice(
            len(found), min(RELATED, len(found)), replace=False
        )
        related = relation_loss(found[some], wanted[some])
        with torch.no_grad():
            variance = (wanted - wanted.mean(dim=0)).square().mean()
            self._seen.append(torch.stack([regression, related, 1 - regression / variance]))
        if self.trainer.is_last_batch:  # before the epoch's checkpoint is written
            self._close_epoch()
        return check_loss("pretrain loss", regression + self.relation * related, self.global_step)

    def _close_epoch(self) -> None:
        """Keep the epoch's means."""
        means = torch.stack(self._seen).mean(dim=0).tolist()
        self._seen.clear()
        names = ("regression", "relation", "explained")
        self.losses.append(dict(zip(names, means, strict=True)))
        log.info(
            "epoch %d: %s",
            self.current_epoch + 1,
            ", ".join(f"{name} {value:.4f}" for name, value in self.losses[-1].items()),
        )

    def configure_optimizers(self) -> Any:
        """AdamW with a rate that rises, then falls as a cosine."""
        matrices = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": self.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.lr,
            betas=(0.9, 0.95),
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _rate(self, step: int) -> float:
        rise = max(1, self.steps // 20)
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / (self.steps - rise))))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the curve so far."""
        checkpoint["losses"] = self.losses

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the curve back."""
        self.losses = checkpoint["losses"]
