"""The stage that trains trunk and heads by the deviation loss."""

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fsad.data.batch import ImageBatch
from fsad.data.datamodule import DataModule
from fsad.data.datasets import RoleImages
from fsad.engine.checkpoint import check_loss
from fsad.engine.stage_module import StageModule
from fsad.functional.deviation import prior_moments
from fsad.functional.pseudo_anomalies import cut_paste
from fsad.functional.rotation import rotate_each
from fsad.methods.shared.open_set.losses import PSEUDO, heads_loss
from fsad.methods.shared.open_set.scorer import HeadsScorer
from fsad.methods.shared.open_set.settings import Fit, Loss
from fsad.runtime.randomness import generator

log = logging.getLogger(__name__)


class DeviationModule(StageModule):
    """Train trunk and heads on normal images, seen anomalies and, if heads need some, pseudo ones.

    What is random in a step is a pure function of seed, epoch and step, so that a resumed run
    repeats it. When the stage ends, the mean maps of the reference images are kept.

    Args:
        scorer: Whose network is trained.
        fit: How.
        loss: The deviation loss.
        references: Normal images whose mean map the residuals are taken from; 0: no head needs it.
        seed: Of what is random.

    Source:
        Pang et al. (arXiv 2108.00462), section 3; DRA (CVPR 2022), section 3.
    """

    def __init__(
        self, scorer: HeadsScorer, fit: Fit, loss: Loss, references: int, seed: int
    ) -> None:
        super().__init__(scorer.network, scorer.extractor.extractor)
        self.scorer, self.net = scorer, scorer.network
        self.fit, self.loss, self.references, self.seed = fit, loss, references, seed
        self.normal = torch.empty(0)

    def configure_optimizers(self) -> Any:
        """Adam, whose rate falls in steps."""
        fit = self.fit
        weights = self.net.parameters()
        adam = torch.optim.Adam(weights, lr=fit.lr, weight_decay=fit.weight_decay)
        falling = torch.optim.lr_scheduler.StepLR(adam, fit.drop_every, gamma=0.1)
        return {"optimizer": adam, "lr_scheduler": falling}

    def on_fit_start(self) -> None:
        """Read the reference images: the same normal ones for the whole run, as they are."""
        data: DataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        self.normal = reference_images(data, self.references, self.seed).to(self.device)

    def on_train_start(self) -> None:
        """Let batch norm follow the batches, as published: backbones come in evaluation mode."""
        self.net.train()

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        assert batch.label is not None
        rng = generator(self.seed, "fit", self.current_epoch, batch_idx)
        images, kinds = batch.image, batch.label.long()
        if "pseudo" in self.net.heads.parts:
            images, kinds = with_pseudo_anomalies(images, kinds, rng)
        if self.fit.rotate:
            angles = torch.from_numpy(rng.uniform(-180, 180, len(images)).astype(np.float32))
            images = rotate_each(images, angles.to(images.device))
        count = len(self.normal)
        maps = self.net.trunk(torch.cat([self.normal, images]))
        reference = self.net.reference
        if count:
            reference = [scale[:count].mean(dim=0, keepdim=True) for scale in maps]
        said = self.net.heads([scale[count:] for scale in maps], reference)
        moments = prior_moments(self.loss.prior, rng)
        loss = heads_loss(said, kinds, self.loss.margin, moments)
        loss = check_loss("deviation loss", loss, self.global_step)
        self.log(f"{self.prefix}fit/loss", loss, prog_bar=True)
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ARG002
        """Bound the gradient."""
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.fit.clip)

    def on_train_end(self) -> None:
        """Keep the mean maps of the references, as the trained trunk makes them."""
        if len(self.normal):
            self.net.eval()
            self.net.keep_reference(self.normal)


def reference_images(data: DataModule, count: int, seed: int) -> Tensor:
    """Return some normal images, the same for a seed, ``(count, 3, S, S)``; fewer if there are."""
    images = RoleImages(data.reader, [data.task.role("normals")], data.canvas)
    order = generator(seed, "references").permutation(len(images))[:count]
    if len(order) < count:
        log.info("method.references: %d of %d, there are no more normal images", len(order), count)
    chosen = [images[int(place)].image for place in order]
    return torch.stack(chosen) if chosen else torch.empty(0, 3, *data.canvas.shape)


def with_pseudo_anomalies(
    images: Tensor, kinds: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Turn each normal image of a batch into a pseudo anomaly with a chance of one half.

    Args:
        images: ``(n, 3, S, S)``.
        kinds: ``(n,)``, 0 normal, 1 seen.
        rng: The only source of randomness.

    Returns:
        Images and kinds, 2 where it was done.
    """
    images, kinds = images.clone(), kinds.clone()
    for row in (kinds == 0).nonzero()[:, 0].tolist():
        if rng.random() < 0.5:
            images[row] = cut_paste(images[row], images[row], rng)[0]
            kinds[row] = PSEUDO
    return images, kinds
