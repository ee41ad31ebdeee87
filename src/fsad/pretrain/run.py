"""Pretraining from start to finish: images, teacher, student, and what is written."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from fsad.engine.checkpoint import check_readable
from fsad.engine.stage_checkpoint import StageCheckpoint
from fsad.engine.stage_progress import StageProgress
from fsad.errors import (
    ConfigError,
    RunError,
    WeightsError,
    check_at_least,
    check_choice,
    check_fraction,
)
from fsad.nn.backbone import CnnExtractor
from fsad.nn.state_dict import fingerprint
from fsad.pretrain.distil import Distillation
from fsad.pretrain.pairs import VIEWS, GeneratedPairs
from fsad.pretrain.student import student, take_over_stem
from fsad.runtime.lightning_warnings import quieten_lightning
from fsad.runtime.provenance import versions
from fsad.storage.tensors import make_folder, write_json, write_tensors

log = logging.getLogger(__name__)

LICENCE = "Apache-2.0; the stem (patch_embed.backbone) is torchvision's ResNet-18, BSD-3-Clause"
STANDARDS = 16  # items of the first images, by which the stem's features are standardised
PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights, besides the teacher.

    Attributes:
        seed: Of the student, the images and the choice of patches.
        epochs: Of ``steps`` optimiser steps each; no image is seen twice.
        steps: Optimiser steps between two checkpoints.
        small: Share of the epochs with images of half the size, four times as many.
        image_size: Height and width of the images in the last epochs, pixels.
        batch_size: Items of four such images in a step.
        lr: Highest learning rate of AdamW.
        matrix_lr: Highest learning rate of Muon.
        relation: Weight of the distances between patches in the loss.
        precision: What the student computes in: ``32-true`` or ``bf16-mixed``.
    """

    seed: int = 0
    epochs: int = 18
    steps: int = 100
    small: float = 0.25
    image_size: int = 224
    batch_size: int = 1
    lr: float = 2e-3
    matrix_lr: float = 4e-3
    relation: float = 1.0
    precision: str = "32-true"

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch_size"):
            check_at_least(name, getattr(self, name), 1)
        check_fraction("small", self.small)
        check_choice("precision", self.precision, PRECISIONS)
        if self.image_size < 64 or self.image_size % 32:
            raise ConfigError(
                f"image_size: expected a multiple of 32, at least 64, got {self.image_size}"
            )

    @property
    def small_epochs(self) -> int:
        """Epochs with images of half the size."""
        return round(self.epochs * self.small)

    @property
    def images(self) -> int:
        """Images seen in all."""
        large = self.epochs - self.small_epochs
        return VIEWS * self.steps * self.batch_size * (4 * self.small_epochs + large)


class Images(LightningDataModule):
    """The images of each epoch, none of them twice.

    Args:
        recipe: Sizes and counts.
        workers: Processes that draw images.
    """

    def __init__(self, recipe: Recipe, workers: int) -> None:
        super().__init__()
        self.recipe, self.workers = recipe, workers
        self.sets = {
            size: GeneratedPairs(size, recipe.images // VIEWS, recipe.seed)
            for size in (recipe.image_size // 2, recipe.image_size)
        }

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Return the current epoch's batches."""
        recipe, epoch = self.recipe, self.trainer.current_epoch if self.trainer else 0
        small = epoch < recipe.small_epochs
        batch = recipe.batch_size * (4 if small else 1)
        before = recipe.batch_size * recipe.steps * (epoch + 3 * min(epoch, recipe.small_epochs))
        chosen = Subset(
            self.sets[recipe.image_size // 2 if small else recipe.image_size],
            range(before, before + batch * recipe.steps),
        )
        return DataLoader(chosen, batch_size=batch, num_workers=self.workers)


def teacher(weights: Path, image_size: int) -> CnnExtractor:
    """Build what it learns from: torchvision's ResNet-18, stages 2 and 3 on one grid.

    Raises:
        WeightsError: The file is not there, cannot be read, or holds something else.
    """
    if not weights.is_file():
        raise WeightsError(
            f"teacher: expected a file of ResNet-18's ImageNet weights, got none at '{weights}'. "
            "Fetch them once: hf download timm/resnet18.tv_in1k model.safetensors --local-dir DIR."
        )
    return CnnExtractor(
        "resnet18", "resnet18.tv_in1k", image_size, layers=[], weights_path=str(weights)
    )


def pretrain(
    teacher_weights: Path, output: Path, recipe: Recipe, workers: int = 1, accelerator: str = "cpu"
) -> Path:
    """Pretrain the embedded backbone, or go on with it where it was interrupted.

    Args:
        teacher_weights: ImageNet weights of a ResNet-18, as far as its third stage.
        output: Folder for ``tiny.safetensors`` (float16), ``pretraining.json`` (recipe, provenance,
            loss curve, seconds) and, until it is finished, ``pretraining.ckpt``.
        recipe: What decides the weights.
        workers: Processes that draw images.
        accelerator: ``cpu`` or ``gpu``.

    Returns:
        The file of weights.

    Raises:
        WeightsError: The teacher's weights cannot be had.
        RunError: The folder holds pretraining by another recipe, or it is finished.
        NonFiniteError: Training diverged.
    """
    quieten_lightning()
    output = make_folder(output, "out")
    record = output / "pretraining.json"
    sizes = (recipe.image_size // 2, recipe.image_size)
    teachers = {size: teacher(teacher_weights, size) for size in sizes}
    about = {"recipe": asdict(recipe), "teacher": teachers[recipe.image_size].sha256}
    _refuse_other(record, about)
    if not record.exists():
        write_json(record, about)
    net = student(recipe.seed, recipe.image_size)
    first = GeneratedPairs(recipe.image_size, STANDARDS, recipe.seed)
    images = torch.cat([first[number] for number in range(len(first))])
    largest = teachers[recipe.image_size]
    take_over_stem(net, largest.net, (images - largest.mean) / largest.std)
    module = Distillation(
        net,
        teachers,
        recipe.epochs * recipe.steps,
        recipe.lr,
        recipe.matrix_lr,
        relation=recipe.relation,
        seed=recipe.seed,
    )
    module.start(images)
    unfinished = output / "pretraining.ckpt"
    checkpoint = StageCheckpoint(unfinished, every=1)
    trainer = Trainer(
        max_epochs=recipe.epochs,
        accelerator=accelerator,
        devices=1,
        precision=recipe.precision,  # type: ignore[arg-type]
        reload_dataloaders_every_n_epochs=1,
        callbacks=[checkpoint, StageProgress("pretrain")],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    goes_on = unfinished.exists()
    trainer.fit(
        module,
        datamodule=Images(recipe, workers),
        ckpt_path=check_readable(unfinished) if goes_on else None,
        weights_only=True,
    )
    state = {
        name: value.half()
        for name, value in module.student.state_dict().items()
        if value.is_floating_point()  # not the stem's counts of batches, which nobody reads
    }
    weights = output / "tiny.safetensors"
    write_tensors(weights, state, {"licence": LICENCE})
    write_json(
        record,
        {
            **about,
            "images": recipe.images,
            "sha256": fingerprint(state),
            "versions": versions(),
            "threads": torch.get_num_threads(),
            "hours": checkpoint.seconds / 3600,
            "curve": module.losses,
        },
    )
    unfinished.unlink(missing_ok=True)
    log.info("weights in %s", weights)
    return weights


def _refuse_other(record: Path, about: dict[str, Any]) -> None:
    """Refuse a folder in which something else was begun, or this was finished."""
    if not record.exists():
        return
    stored = json.loads(record.read_text(encoding="utf-8"))
    if "sha256" in stored:
        raise RunError(
            f"out: expected a folder without weights, got '{record.parent}'. Give another."
        )
    for key in about:
        if stored.get(key) != about[key]:
            raise RunError(
                f"out: expected the {key} it was begun with, {stored.get(key)}, got {about[key]}. "
                "Choose another folder."
            )
