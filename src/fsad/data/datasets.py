"""Loaders and what they draw from: images of one domain, ground truth, nothing at all."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fsad.data.identity import files_digest
from fsad.data.pairs import ImageBatch, PairReader, Sample, Truth
from fsad.data.transforms import Modality, load_tensors
from fsad.runtime.fingerprint import code_digest
from fsad.storage.tensor_store import TensorStore, digest

T = TypeVar("T")


class DomainImages(Dataset[ImageBatch]):
    """Images of one modality; opens no file of the other.

    Args:
        reader: The dataset.
        samples: Which samples, in the order of their index.
        size: S, the images' side.
        modality: ``rgb`` or ``depth``.
    """

    def __init__(
        self,
        reader: PairReader,
        samples: Sequence[Sample],
        size: int,
        modality: Literal["rgb", "depth"],
    ) -> None:
        self.reader = reader
        self.samples = samples
        self.size = size
        self.modality = modality

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> ImageBatch:
        tensors = load_tensors(self.reader, self.samples[index], self.size, [self.modality])
        return ImageBatch(tensors[self.modality], torch.tensor(index))


class Truths(Dataset[Truth]):
    """Ground truth of test images: defects, parts and labels; opens no RGB image.

    Args:
        reader: The dataset.
        samples: Which samples, in the order of their index.
        size: S, the masks' side.
        store: Keeps the masks by the content of their files, since finding a part in a depth map
            takes longer than measuring it; None keeps nothing.
    """

    def __init__(
        self,
        reader: PairReader,
        samples: Sequence[Sample],
        size: int,
        store: TensorStore | None = None,
    ) -> None:
        self.reader = reader
        self.samples = samples
        self.size = size
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
            index=torch.tensor(index),
        )

    def _masks(self, sample: Sample) -> Mapping[str, Tensor]:
        if self.store is None:
            return self._read(sample)
        key = digest(
            "truth",
            code_digest("data"),
            files_digest([sample], "mask", "depth"),
            self.size,
            self.reader.rules.to_json(),
        )
        if (entry := self.store.get(key)) is not None:
            return entry.tensors
        masks = self._read(sample)
        self.store.put(key, masks)
        return masks

    def _read(self, sample: Sample) -> Mapping[str, Tensor]:
        asked: list[Modality] = ["mask", "part", "misleading", "extent", "tiny"]
        tensors = load_tensors(self.reader, sample, self.size, asked)
        return {str(name): tensor for name, tensor in tensors.items()}


class NoImages(Dataset[Tensor]):
    """One empty item, for a stage whose step needs no image."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Tensor:
        return torch.zeros(1)[index]


class EpochSampler(Sampler[int]):
    """Shuffles by a pure function of seed and epoch, so that a resumed run sees the same order.

    Args:
        size: How many items there are.
        seed: The run's seed.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        yield from rng.permutation(self.size).tolist()


def make_loader(
    dataset: Dataset[T],
    batch_size: int,
    workers: int,
    seed: int,
    sampler: Sampler[int] | Sequence[int] | None = None,
) -> DataLoader[T]:
    """Return a loader that leaves the global random generator alone."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        # Each pass draws a seed for the workers, from the global generator unless told otherwise:
        # how often banks are built would then decide what a later stage draws.
        generator=torch.Generator().manual_seed(seed),
    )
