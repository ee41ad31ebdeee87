"""What the outer stage learns from: maps of all its images, made once by the frozen trunk."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsad.data.batch import ImageBatch
from fsad.data.datamodule import DataModule
from fsad.data.datasets import RoleImages
from fsad.functional.pseudo_anomalies import GENERATORS
from fsad.methods.ahl.tasks import Places, Side
from fsad.methods.shared.open_set.losses import NORMAL, PSEUDO, SEEN
from fsad.methods.shared.open_set.scorer import AnomalyNetwork
from fsad.runtime.randomness import generator


@dataclass(frozen=True)
class MapStore:
    """Maps of the normal images, of pseudo anomalies by each generator, and of the seen anomalies.

    Attributes:
        maps: Of each scale, ``(r, c, h, w)``: n normal ones, n of each generator, m anomalies.
        normals: n.
        anomalies: m.
    """

    maps: list[Tensor]
    normals: int
    anomalies: int

    def rows(self, side: Side, sizes: tuple[int, int, int], rng: np.random.Generator) -> Places:
        """Draw a batch: normal images, pseudo anomalies and seen ones, ``sizes`` of each."""
        block = 1 + sorted(GENERATORS).index(side.generator)
        last = self.normals * (1 + len(GENERATORS))
        drawn = (
            _draw(side.normals, sizes[0], rng),
            _draw(side.normals, sizes[1], rng) + block * self.normals,
            _draw(side.anomalies, sizes[2], rng) + last,
        )
        return np.concatenate(drawn)

    def at(self, rows: Tensor) -> list[Tensor]:
        """Return the maps of rows of any shape, scale by scale."""
        return [scale[rows] for scale in self.maps]

    @property
    def real_rows(self) -> Tensor:
        """Rows of the normal images and the seen anomalies, ``(n + m,)``."""
        first = torch.arange(self.normals)
        last = torch.arange(self.anomalies) + self.normals * (1 + len(GENERATORS))
        return torch.cat([first, last]).to(self.maps[0].device)


def kinds_of(sizes: tuple[int, int, int], pseudo_apart: bool) -> Tensor:
    """Return the kinds of the images of a batch; pseudo anomalies are seen ones to a lone head."""
    pseudo = PSEUDO if pseudo_apart else SEEN
    return torch.tensor([NORMAL] * sizes[0] + [pseudo] * sizes[1] + [SEEN] * sizes[2])


@torch.no_grad()
def map_store(
    network: AnomalyNetwork, data: DataModule, seed: int, device: torch.device
) -> MapStore:
    """Make the maps of all images, each once and by itself.

    Args:
        network: Whose trunk makes them, in evaluation mode.
        data: The category's.
        seed: Of the pseudo anomalies: one of each normal image and generator.
        device: Where they shall be.

    Note:
        Four maps a normal image and scale: of ResNet-18 up to ``layer4`` at 448 pixels 2 MB in all,
        at 224 pixels 0.5 MB; up to ``layer2`` four times as much.
    """
    normal, seen = (
        RoleImages(data.reader, [data.task.role(name)], data.canvas)
        for name in ("normals", "seen_anomalies")
    )
    count = len(normal) * (1 + len(GENERATORS)) + len(seen)
    maps: list[Tensor] = []
    for row, image in enumerate(_all_images(normal, seen, seed)):
        scales = network.trunk(image[None].to(device))
        if not maps:
            maps = [scale.new_empty(count, *scale.shape[1:]) for scale in scales]
        for store, scale in zip(maps, scales, strict=True):
            store[row] = scale[0]
    return MapStore(maps, len(normal), len(seen))


def _images(images: RoleImages) -> Iterator[Tensor]:
    for place in range(len(images)):
        batch: ImageBatch = images[place]
        yield batch.image


def _all_images(normal: RoleImages, seen: RoleImages, seed: int) -> Iterator[Tensor]:
    yield from _images(normal)
    for name in sorted(GENERATORS):
        for place, image in enumerate(_images(normal)):
            rng = generator(seed, "pseudo", name, place)
            donor = normal[int(rng.integers(len(normal)))].image
            yield GENERATORS[name](image, donor, rng)[0]
    yield from _images(seen)


def _draw(pool: Places, count: int, rng: np.random.Generator) -> Places:
    """Draw places, each as often as any other but for one."""
    rounds = -(-count // len(pool))
    order: Places = np.concatenate([rng.permutation(pool) for _ in range(rounds)])
    return order[:count]
