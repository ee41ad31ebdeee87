"""Images that need no download: what a backbone is pretrained on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fsad.errors import ConfigError, check_at_least
from fsad.pretrain.augment import developed, flipped, pasted
from fsad.pretrain.grid import Array
from fsad.pretrain.leaves import dead_leaves
from fsad.pretrain.marks import marks
from fsad.pretrain.noise import fractal
from fsad.pretrain.parts import part_depth, part_photograph
from fsad.pretrain.patterns import pattern
from fsad.pretrain.shading import relief, relief_depth
from fsad.runtime.randomness import generator

SHARES = {
    "leaves": 0.26,
    "fractal": 0.10,
    "relief": 0.18,
    "pattern": 0.09,
    "marks": 0.08,
    "part": 0.09,
    "relief_depth": 0.14,
    "part_depth": 0.06,
}
DEPTH = ("relief_depth", "part_depth")
PASTED = 0.25  # share of the photographs that show a second kind over the first

_DRAW: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "leaves": dead_leaves,
    "fractal": fractal,
    "relief": relief,
    "pattern": pattern,
    "marks": marks,
    "relief_depth": relief_depth,
}
_DRAW_PART = {"part": part_photograph, "part_depth": part_depth}


@dataclass(frozen=True)
class Plan:
    """What an image shows.

    Attributes:
        kind: One of ``SHARES``.
        figure: The kind that is pasted over it, no depth image; none for most.
    """

    kind: str
    figure: str | None


def plan(seed: int, index: int) -> Plan:
    """Choose what an image shows, without drawing it.

    A kind has its share in ``SHARES``; a figure's kind has its share among the photographs.
    """
    rng = generator(seed, "plan", index)
    kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    if kind in DEPTH or rng.random() >= PASTED:
        return Plan(kind, None)
    photographs = {name: share for name, share in SHARES.items() if name not in DEPTH}
    shares = np.array(list(photographs.values()))
    return Plan(kind, str(rng.choice(list(photographs), p=shares / shares.sum())))


def to_tensor(image: Array) -> Tensor:
    """Copy an image ``(H, W, 3)`` to a tensor ``(3, H, W)``."""
    return torch.from_numpy(np.array(np.moveaxis(image, -1, 0), dtype=np.float32, order="C"))


class GeneratedImages(Dataset[Tensor]):
    """Photograph-like and depth-like images, drawn as they are asked for.

    ==============  =====  ====================================================================
    Kind            Share  What it shows
    ==============  =====  ====================================================================
    leaves          26 %   shapes of all sizes that hide each other, each with its own material
    fractal         10 %   noise with a power-law spectrum: clouds, marble, wood, rust, leather
    relief          18 %   a random surface or part under a lamp
    pattern          9 %   stripes, checks, lattices, tiles, weaves, brushed lines
    marks            8 %   rows of glyphs, scratches, dots, bars, frames
    part             9 %   the synthetic data set's parts, good, from scenes of their own
    relief_depth    14 %   the depth image of a random surface or part
    part_depth       6 %   the depth image of a synthetic part
    ==============  =====  ====================================================================

    A quarter of the photographs (all but the depth images) show a second photograph through a
    mask. Photographs then get a camera's blur, noise and colours, and every image may be turned
    and mirrored.

    Laws (``tests/pretrain/test_images*.py``):

    * An image is a pure function of ``(seed, index, size)``; the count and the process change
      nothing, and no global generator is read or moved.
    * Depth images have three equal channels with values in {0} ∪ [0.1, 0.9].
    * No scene is drawn from the chance of the synthetic data set's scenes.

    Args:
        size: Height and width, pixels, at least 32.
        count: Number of images, at least 1; only the length.
        seed: Another seed, other images; below 2³².

    Raises:
        ConfigError: An argument is out of range.

    Note:
        On average about 10 ms on one core at 224 pixels. The 64 scenes of parts are rendered as
        they are needed, about 4 s in all, once per process.
    """

    def __init__(self, size: int, count: int, seed: int) -> None:
        self.size = check_at_least("size", size, 32)
        self.count = check_at_least("count", count, 1)
        self.seed = check_at_least("seed", seed, 0)
        if seed >= 2**32:  # beyond, nothing keeps the scenes apart from the data set's
            raise ConfigError(f"seed: expected a whole number below 2**32, got {seed}")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        """Return an image, ``(3, size, size)`` float32 in [0, 1].

        Raises:
            IndexError: There is no such image.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"index: expected 0 to {self.count - 1}, got {index}")
        chosen, rng = plan(self.seed, index), generator(self.seed, "image", index)
        image = self._draw(chosen.kind, rng)
        if chosen.figure is not None:
            image = pasted(rng, image, self._draw(chosen.figure, rng))
        if chosen.kind not in DEPTH:
            image = developed(rng, image)
        return to_tensor(flipped(rng, image))

    def _draw(self, kind: str, rng: np.random.Generator) -> Array:
        if kind in _DRAW_PART:
            return _DRAW_PART[kind](rng, self.size, self.seed)
        return _DRAW[kind](rng, self.size)
