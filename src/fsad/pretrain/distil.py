"""Dense distillation: a small vision transformer learns the patch features of a larger network."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from fsad.engine.checkpoint import check_loss
from fsad.errors import check_shape
from fsad.nn.extractor import PatchExtractor
from fsad.nn.timm_networks import pixel_statistics
from fsad.pretrain.muon import Muon
from fsad.pretrain.pairs import VIEWS
from fsad.pretrain.student import tokens_of
from fsad.runtime.randomness import generator, seeded

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

    .. math:: L = \operatorname{MSE}(A f, t)
        + \lambda \, (L_{relation}(f_{single}, t_{single}) + L_{relation}(f_{pair}, t_{depth}))

    with f the student's patch features behind its last norm, t the teacher's, less one mean and
    over one deviation per channel of the first batch, and A a linear layer that is thrown away
    afterwards. The second relation is over the photograph and the depth image of a surface
    together, and wants each patch of the photograph where the teacher puts the same place of the
    depth image: a bank of photographs is to be searched with patches of depth images.

    Matrices inside the blocks are trained by :class:`~fsad.pretrain.muon.Muon`, the rest by AdamW.

    Args:
        student: What :func:`~fsad.pretrain.student.student` gave.
        teachers: The network that it learns from, for each size of image; frozen.
        steps: Optimiser steps in all; rates rise for a twentieth of them, then fall as a cosine
            to 0.
        lr: Highest learning rate of AdamW.
        matrix_lr: Highest learning rate of Muon.
        weight_decay: On matrices alone.
        relation: :math:`\lambda`.
        seed: Seed of the linear layer, the positions and the choice of patches.

    Attributes:
        losses: By epoch: ``regression``, ``relation``, ``pairs`` (the second relation) and
            ``explained``, the share of the teacher's variance that the student says.
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
        matrix_lr: float = 4e-3,
        weight_decay: float = 0.05,
        relation: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # two optimisers step together
        self.student = student
        self._teachers = dict(teachers)  # a dict, so that checkpoints do not hold them
        self.steps, self.lr, self.matrix_lr = steps, lr, matrix_lr
        self.weight_decay = weight_decay
        self.relation, self.seed = relation, seed
        channels = next(iter(teachers.values())).channels
        with seeded(seed, "pretrain", "head"):
            self.head = nn.Linear(self.student.embed_dim, channels)
        for name, values in pixel_statistics(student).items():
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1))
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.losses: list[dict[str, float]] = []
        self._seen: list[Tensor] = []

    def features(self, images: Tensor, step: int) -> Tensor:
        """Extract the student's patch features ``(n, h·w, c)`` of images ``(n, 3, H, W)``."""
        normalised = (images - self.mean) / self.std
        return tokens_of(self.student, normalised, self.seed, "positions", step).float()

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """Extract the teacher's patch features ``(n, h·w, d)``, normalised by channel."""
        wanted = self._teachers[images.shape[-1]](images).flatten(2).transpose(1, 2)
        normalised: Tensor = (wanted - self.centre) / self.spread
        return normalised

    @torch.no_grad()
    def start(self, images: Tensor) -> None:
        """Measure the teacher on some images and let A start as the best reading of them.

        Args:
            images: ``(n, 3, H, W)`` in [0, 1].
        """
        raw = torch.cat([self.targets(image[None]) for image in images]).flatten(0, 1)
        self.spread.copy_(raw.std(dim=0).clamp(min=1e-6))
        self.centre.copy_(raw.mean(dim=0))
        found = torch.cat([self.features(image[None], 0) for image in images]).flatten(0, 1)
        ones = torch.ones_like(found[:, :1])
        wanted = (raw - self.centre) / self.spread
        best = torch.linalg.lstsq(torch.cat([found, ones], dim=1), wanted).solution
        self.head.weight.copy_(best[:-1].T)
        self.head.bias.copy_(best[-1])

    def on_fit_start(self) -> None:
        """Bring the teachers to the student's device."""
        for teacher in self._teachers.values():
            teacher.to(self.device)

    def training_step(self, batch: Tensor) -> Tensor:
        """Take a step on items ``(b, 4, 3, H, W)`` in [0, 1]; see ``GeneratedPairs``."""
        step = self.global_step // 2  # Lightning counts the steps of both optimisers
        images = batch.flatten(0, 1)
        wanted, found = self.targets(images), self.features(images, step)
        regression = mse_loss(self.head(found), wanted)
        rng = generator(self.seed, "pretrain", "patches", step)
        f, t = (rows.view(-1, VIEWS, *rows.shape[1:]) for rows in (found, wanted))
        relation = _sampled_relation(rng, f[:, 2:], t[:, 2:])
        depth_twice = t[:, 1:2].expand(-1, 2, -1, -1)
        pairs = _sampled_relation(rng, f[:, :2], depth_twice)
        loss = regression + self.relation * (relation + pairs)
        self._learn(check_loss("pretrain loss", loss, step))
        with torch.no_grad():
            variance = (wanted - wanted.mean(dim=(0, 1))).square().mean()
            self._seen.append(torch.stack([regression, relation, pairs, 1 - regression / variance]))
        if self.trainer.is_last_batch:  # before the epoch's checkpoint is written
            self._close_epoch()
        return loss.detach()  # for the progress bar

    def _learn(self, loss: Tensor) -> None:
        """Step with both optimisers."""
        optimizers: Any = self.optimizers()
        schedules: Any = self.lr_schedulers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()

    def _close_epoch(self) -> None:
        """Keep the epoch's means."""
        means = torch.stack(self._seen).mean(dim=0).tolist()
        self._seen.clear()
        names = ("regression", "relation", "pairs", "explained")
        self.losses.append(dict(zip(names, means, strict=True)))
        log.info(
            "epoch %d: %s",
            self.current_epoch + 1,
            ", ".join(f"{name} {value:.4f}" for name, value in self.losses[-1].items()),
        )

    def configure_optimizers(self) -> Any:
        """Muon and AdamW, with rates that rise, then fall as a cosine."""
        hidden = {
            name: weight
            for name, weight in self.student.blocks.named_parameters()
            if weight.ndim == 2
        }
        taken = {id(weight) for weight in hidden.values()}
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in taken]
        groups: list[dict[str, Any]] = [
            {"params": [w for name, w in hidden.items() if "qkv" in name], "pieces": 3},
            {"params": [w for name, w in hidden.items() if "qkv" not in name]},
        ]
        muon = Muon(groups, lr=self.matrix_lr, weight_decay=self.weight_decay)
        adam = torch.optim.AdamW(
            [
                {"params": [p for p in others if p.ndim > 1], "weight_decay": self.weight_decay},
                {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=self.lr,
            betas=(0.9, 0.95),
        )
        optimizers = [muon, adam]
        return optimizers, [torch.optim.lr_scheduler.LambdaLR(o, self._rate) for o in optimizers]

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


def _sampled_relation(rng: np.random.Generator, features: Tensor, targets: Tensor) -> Tensor:
    """Compare the distances between ``RELATED`` patches of a batch, chosen by chance."""
    rows, wanted = features.flatten(0, -2), targets.flatten(0, -2)
    some = rng.choice(len(rows), min(RELATED, len(rows)), replace=False)
    return relation_loss(rows[some], wanted[some])
