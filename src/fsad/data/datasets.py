"""Loaders and what they draw from: images of roles, ground truth, nothing at all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fsad.data.batch import ImageBatch, Truth
from fsad.data.canvas import Canvas
from fsad.data.identity import MASK, files_digest
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.data.task import Role
from fsad.data.transforms import TRUTH, load_tensors
from fsad.runtime.fingerprint import code_digest
from fsad.storage.tensor_store import TensorStore, digest

T = TypeVar("T")


class RoleImages(Dataset[ImageBatch]):
    """Images of one role, or of several one after the other; opens no file of another modality.

    Where any of the roles has labels, or masks, all images have: those of a role without have no
    defect.

    Args:
        reader: The dataset; a role of another one has its own.
        roles: Whose images.
        canvas: What the images are brought to, S high and wide.
    """

    def __init__(self, reader: DatasetReader, roles: Sequence[Role], canvas: Canvas) -> None:
        self.images = [
            (sample, role.modality, role.reader or reader)
            for role in roles
            for sample in role.samples
        ]
        self.canvas = canvas
        self.labels = any(role.labels for role in roles)
        self.masks = any(role.masks for role in roles)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> ImageBatch:
        sample, modality, reader = self.images[index]
        wanted = [modality, "mask"] if self.masks else [modality]
        tensors = load_tensors(reader, sample, self.canvas, wanted)
        label = torch.tensor(sample.is_anomalous) if self.labels else None
        return ImageBatch(tensors[modality], torch.tensor(index), label, tensors.get("mask"))


class Truths(Dataset[Truth]):
    """Ground truth of test images: defects, parts and labels; opens no photograph.

    Args:
        reader: The dataset.
        samples: Which samples, in the order of their index.
        canvas: What the images are brought to, S high and wide.
        store: Keeps the masks by the content of their files, since finding a part in a depth map
            takes longer than measuring it; None keeps nothing.
    """

    def __init__(
        self,
        reader: DatasetReader,
        samples: Sequence[Sample],
        canvas: Canvas,
        store: TensorStore | None = None,
    ) -> None:
        self.reader = reader
        self.samples = samples
        self.canvas = canvas
        self.store = store

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Truth:
        sample = self.samples[index]
        masks = self._masks(sample)
        return Truth(
            mask=masks["mask"],
            part=masks["part"],
            label=torch.tensor(sample.is_anomalous),
            masked=torch.tensor(sample.is_masked),
            misleading=masks["misleading"],
            extent=masks["extent"],
            tiny=masks["tiny"],
            area=masks["area"],
            index=torch.tensor(index),
        )

    def _masks(self, sample: Sample) -> Mapping[str, Tensor]:
        if self.store is None:
            return self._read(sample)
        key = digest(
            "truth",
            code_digest("data"),
            files_digest([sample], MASK, *_measured(sample)),
            self.canvas.to_json(),
            self.reader.rules.to_json(),
        )
        if (entry := self.store.get(key)) is not None:
            return entry.tensors
        masks = self._read(sample)
        self.store.put(key, masks)
        return masks

    def _read(self, sample: Sample) -> Mapping[str, Tensor]:
        return load_tensors(self.reader, sample, self.canvas, TRUTH)


def _measured(sample: Sample) -> Sequence[str]:
    """Return the modalities whose files the ground truth depends on."""
    return ("depth",) if "depth" in sample.files else tuple(sample.files)


class NoImages(Dataset[Tensor]):
    """One empty item, for a stage whose step needs no image."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Tensor:
        return torch.zeros(1)[index]


def make_loader(
    dataset: Dataset[T],
    batch_size: int,
    workers: int,
    seed: int,
    sampler: Sampler[int] | Sequence[int] | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
) -> DataLoader[T]:
    """Return a loader that leaves the global random generator alone.

    Args:
        dataset: What to draw from.
        batch_size: Items per batch.
        workers: Processes that read; 0 reads in the main one.
        seed: Of the generator that workers are seeded from.
        sampler: The order; that of the data set if omitted.
        collate: Makes a batch of items; stacks tensors if omitted.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        # Each pass draws a seed for the workers, from the global generator unless told otherwise:
        # how often banks are built would then decide what a later stage draws.
        generator=torch.Generator().manual_seed(seed),
    )
