"""What the encoder learns from: tokens of source images, and episodes drawn among them."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsad.data.datamodule import DataModule
from fsad.data.datasets import RoleImages
from fsad.errors import ConfigError
from fsad.methods.ideal.settings import Fit
from fsad.nn.references import anomalous_cells
from fsad.runtime.progress import track

Places = NDArray[np.int64]
Encode = Callable[[Tensor, str], Tensor]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Episode:
    """A query image and references for it; places among the source images.

    Attributes:
        query: Which image is scored.
        normal: The normal references.
        anomalous: The defective references.
    """

    query: int
    normal: Places
    anomalous: Places


@dataclass(frozen=True)
class Pool:
    """The images of one source category.

    Attributes:
        normal: Places of those without a defect.
        anomalous: Places of those with one.
    """

    normal: Places
    anomalous: Places

    def draw(self, fit: Fit, rng: np.random.Generator) -> Episode:
        """Draw an episode: the query, half of the time with a defect, and references.

        Laws (``tests/methods/test_ideal_episodes.py``): the query is never among its references,
        and no reference is there twice.
        """
        normal, anomalous = rng.permutation(self.normal), rng.permutation(self.anomalous)
        pool, count = (anomalous, fit.anomalous) if rng.random() < 0.5 else (normal, fit.normal)
        return Episode(int(pool[count]), normal[: fit.normal], anomalous[: fit.anomalous])


def pools_of(categories: list[str], labels: list[bool], fit: Fit) -> dict[str, Pool]:
    """Return the images of each source category, by its name.

    Args:
        categories: Of each image.
        labels: Whether each has a defect.
        fit: How many references an episode has.

    Raises:
        ConfigError: A category has too few images for an episode.
    """
    names, is_anomalous = np.array(categories), np.array(labels)
    pools: dict[str, Pool] = {}
    for name in sorted(set(categories)):
        own = names == name
        pool = Pool(np.flatnonzero(own & ~is_anomalous), np.flatnonzero(own & is_anomalous))
        for setting, needed, there in (
            ("normal", fit.normal, len(pool.normal)),
            ("anomalous", fit.anomalous, len(pool.anomalous)),
        ):
            if there <= needed:
                raise ConfigError(
                    f"method.fit.{setting}: expected fewer references than the {there} such images "
                    f"of {name} in the source, one of which is the query, got {needed}. Take "
                    "fewer, or leave the category out of source.category."
                )
        pools[name] = pool
    return pools


def episodes(pools: Mapping[str, Pool], fit: Fit, rng: np.random.Generator) -> Iterator[Episode]:
    """Draw the episodes of an epoch, each of a random category.

    Args:
        pools: Of the source categories, by name.
        fit: How many episodes, and references of each.
        rng: The only source of randomness.
    """
    names = sorted(pools)
    for _ in range(fit.episodes):
        yield pools[names[int(rng.integers(len(names)))]].draw(fit, rng)


@dataclass(frozen=True)
class SourceTokens:
    """What is kept of the source images, so that no epoch runs the backbone.

    Attributes:
        tokens: Features, ``(n, h * w, c)``, float16.
        masks: Defective pixels, ``(n, S, S)``, bool.
        cells: Patches with such a pixel, ``(n, h * w)``, bool.
        categories: Of each image.
        labels: Whether each has a defect.

    Note:
        Of 1024 patches with 384 channels 0.8 MB an image, and 0.2 MB for the mask of 448 pixels.
    """

    tokens: Tensor
    masks: Tensor
    cells: Tensor
    categories: list[str]
    labels: list[bool]


@torch.no_grad()
def source_tokens(
    data: DataModule, encode: Encode, grid: tuple[int, int], device: torch.device
) -> SourceTokens:
    """Make the tokens of all source images, each once and by itself.

    An image whose mask marks nothing is left out.

    Args:
        data: The run's.
        encode: Returns the features of images, ``(n, c, h, w)``; from the cache if they are there.
        grid: Height and width of the patch grid.
        device: Where to encode.
    """
    role = data.task.role("source_data")
    images = RoleImages(data.reader, [role], data.canvas)
    tokens, masks, kept = [], [], []
    for place in track(range(len(images)), "source tokens", len(images)):
        batch = images[place]
        assert batch.mask is not None
        if role.samples[place].is_anomalous and not bool(batch.mask.any()):
            continue
        features = encode(batch.image[None].to(device), "target")
        tokens.append(features[0].flatten(1).T.half().cpu())
        masks.append(batch.mask)
        kept.append(role.samples[place])
    if len(kept) < len(images):
        log.info("source: %d images with an empty mask are left out", len(images) - len(kept))
    stacked = torch.stack(masks)
    return SourceTokens(
        torch.stack(tokens),
        stacked,
        anomalous_cells(stacked, grid).flatten(1),
        [sample.category for sample in kept],
        [sample.is_anomalous for sample in kept],
    )
