"""Stage ``perturb``: adapters learn to undo a change of style (eqs. 3-7)."""

import logging
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from fsad.data.batch import ImageBatch
from fsad.data.datamodule import DataModule
from fsad.engine.checkpoint import check_loss
from fsad.engine.stage_module import StageModule
from fsad.errors import ConfigError
from fsad.functional.perlin import channel_factors
from fsad.functional.style import perturb_style
from fsad.methods.hypertrans.settings import Perturb
from fsad.nn.adapter import AdaptedExtractor, Perturbation
from fsad.results.feature_samples import ROWS, choose
from fsad.runtime.randomness import generator

UNDONE = (
    "perturb: the adapters did not learn to undo the noise (above 1, a constant would predict "
    "better). The scores are valid, and close to those without this stage: docs/hypertrans.md"
)
log = logging.getLogger(__name__)

PROBE_BATCHES = 4  # of source images, to measure the stage by
SHOWN_IMAGES = 4  # of each domain, whose features figures show


class DomainPerturbationModule(StageModule):
    r"""Train the adapters so that a perturbed forward pass ends where the clean one does.

    .. math:: L_{dp} = \operatorname{MSE}\big(F, \Theta(\omega(F))\big)

    with F the clean features of the *frozen* backbone: a moving target could collapse.

    Args:
        extractor: Frozen backbone with adapters; only the adapters train.
        settings: Strength and schedule.
        seed: Seed of the perturbation factors.

    Raises:
        ConfigError: The extractor has no layer to perturb.

    Source:
        HyperTrans, eq. (7) and Algorithm 1, lines 3-4.
    """

    def __init__(self, extractor: AdaptedExtractor, settings: Perturb, seed: int) -> None:
        super().__init__(extractor.adapters, extractor.extractor)
        self.extractor = extractor
        if not extractor.adapters:
            raise ConfigError("backbone.layers: expected at least one layer to perturb, got none")
        self.settings = settings
        self.seed = seed

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over the adapters."""
        return torch.optim.Adam(self.extractor.adapters.parameters(), lr=self.settings.lr)

    def training_step(self, batch: ImageBatch) -> Tensor:
        """Return L_dp of one batch of source images."""
        clean, perturbed = self.extractor.clean_and_perturbed(
            batch.image, "source", self.perturbation(self.global_step)
        )
        loss = check_loss("perturb loss", mse_loss(perturbed, clean), self.global_step)  # eq. (7)
        self.log(f"{self.prefix}perturb/loss", loss, prog_bar=True)
        self.log(f"{self.prefix}perturb/loss_over_variance", loss.detach() / spread(clean))
        return loss

    def perturbation(self, step: int | str) -> Perturbation:
        """Return the disturbance of one step; it depends on the seed and the step alone."""
        rng = generator(self.seed, "perturbation", step)
        std = self.settings.std

        def perturb(_: str, features: Tensor) -> Tensor:
            images, channels = features.shape[:2]
            p_avg, p_std = channel_factors(images, channels, std, rng)
            return perturb_style(features, p_avg.to(features), p_std.to(features))

        return perturb

    @torch.no_grad()
    def on_train_end(self) -> None:
        """Measure what the stage achieved, on some source images with noise of its own."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        batches = list(islice(data.loader("source"), PROBE_BATCHES))
        probes = [
            self._probe(batch.image.to(self.device), f"probe {number}")
            for number, batch in enumerate(batches)
        ]
        raw, adapted, drift = (sum(column) / len(probes) for column in zip(*probes, strict=True))
        failed = adapted > 1
        self.diagnostics = {
            "loss_over_variance_untrained": raw,
            "loss_over_variance": adapted,
            "clean_drift": drift,
            "failed": failed,
        }
        log.info(
            "perturb: L_dp / feature variance %.3f (%.3f before training), "
            "change of clean features %.3f",
            adapted,
            raw,
            drift,
        )
        if failed:
            log.info(UNDONE)

    def _probe(self, images: Tensor, noise: str) -> tuple[float, float, float]:
        """Return L_dp without and with adapters and the drift of clean features, over variance."""
        clean, adapted = self.extractor.clean_and_perturbed(
            images, "source", self.perturbation(noise)
        )
        drifted = self.extractor(images, "source")
        with self.extractor.without_adapters():
            raw = self.extractor(images, "source", self.perturbation(noise))
        variance = spread(clean)
        return (
            float(mse_loss(raw, clean) / variance),
            float(mse_loss(adapted, clean) / variance),
            float(mse_loss(drifted, clean) / variance),
        )

    def samples(self, data: DataModule) -> dict[str, Tensor]:
        """Sample the features of some source images and shots, for the paper's Fig. 5.

        Args:
            data: The category's data; RGB of training images and depth of shots are read.

        Returns:
            Features as the backbone gives them, not z-scored, ``(r, c)``:

            * ``source``: of source images, from the frozen backbone;
            * ``perturbed``: the same cells under noise, adapters passed by;
            * ``adapted``: the same cells under the same noise, through the adapters;
            * ``target``: of the shots, from the frozen backbone;
            * ``target_adapted``: the same cells through the adapters.

        Note:
            Sends at most ``SHOWN_IMAGES`` images of each domain through the backbone.
        """
        source, target = (
            self._shown(loader.dataset, domain).to(self.device)
            for domain, loader in (
                ("source", data.loader("source")),
                ("target", data.loader("shots")),
            )
        )
        noise = "embeddings"
        clean, adapted = self.extractor.clean_and_perturbed(
            source, "source", self.perturbation(noise)
        )
        target_adapted = self.extractor(target, "target")
        with self.extractor.without_adapters():
            perturbed = self.extractor(source, "source", self.perturbation(noise))
            bare = self.extractor(target, "target")
        of_source = {"source": clean, "perturbed": perturbed, "adapted": adapted}
        of_target = {"target": bare, "target_adapted": target_adapted}
        return self._cells("source", of_source) | self._cells("target", of_target)

    def _shown(self, images: Any, domain: str) -> Tensor:
        """Choose images ``(n, 3, H, W)`` of a dataset."""
        places = choose(len(images), SHOWN_IMAGES, self.seed, "images", domain)
        return torch.stack([images[int(place)].image for place in places])

    def _cells(self, domain: str, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Choose the same cells of all maps ``(n, c, h, w)``."""
        rows = {name: each.permute(0, 2, 3, 1).flatten(0, 2) for name, each in maps.items()}
        count = len(next(iter(rows.values())))
        places = choose(count, ROWS, self.seed, "cells", domain)
        return {name: each[places.to(each.device)] for name, each in rows.items()}


def spread(features: Tensor) -> Tensor:
    """Return the mean over channels of each channel's variance: the error of the best constant."""
    return features.var(dim=(0, 2, 3), unbiased=False).mean()
