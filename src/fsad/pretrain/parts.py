"""The synthetic data set's parts as they look when nothing is wrong with them."""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsad.data.synthetic.defects import no_defect
from fsad.data.synthetic.parts import PARTS
from fsad.data.synthetic.render import render_rgb
from fsad.data.synthetic.scene import MM, draw_scene
from fsad.pretrain.fields import Field
from fsad.pretrain.grid import Array
from fsad.pretrain.shading import as_depth, photograph
from fsad.runtime.randomness import generator

SCENES = 64  # rendering one takes as long as ten images, so they are rendered once and cropped
SIDE = 256  # height and width of a scene, pixels
Box: TypeAlias = tuple[int, int, int, int]  # left, top, right and bottom, as Pillow has it


def scene_chance(seed: int, number: int) -> np.random.Generator:
    """Return the chance that a scene is drawn from; the data set never draws from it.

    NumPy seeds a generator by whole numbers of 32 bits, padded with zeros, and maps four of them
    one to one to its state. The data set's keys are its seed, a checksum and 0 or 1, so their
    fourth number is 0 or 1 for every seed below 2⁶⁴; here it is a checksum that is neither.

    Args:
        seed: Below 2³².
        number: Which scene.
    """
    return generator(seed, "scene", number, "pretrain")


@lru_cache(maxsize=2 * SCENES)
def scene(seed: int, number: int) -> tuple[NDArray[np.uint8], Field]:
    """Render a good part, ``(SIDE, SIDE, 3)``, and its surface as the image is 2 wide.

    Kept per process, read-only. Cost: 0.1 s and 0.5 MB for each scene, once.
    """
    rng = scene_chance(seed, number)
    drawn = draw_scene(list(PARTS.values())[rng.integers(len(PARTS))], SIDE, rng)
    rgb = render_rgb(drawn, no_defect(SIDE))
    height = (drawn.height * 2 / (drawn.pitch * SIDE)).astype(np.float32)
    field = Field(height, drawn.height > 0.5 * MM)
    for array in (rgb, field.height, field.part):
        array.setflags(write=False)
    return rgb, field


def part_photograph(rng: np.random.Generator, size: int, seed: int) -> Array:
    """Draw a crop of a scene, as rendered or under new light, ``(size, size, 3)`` in [0, 1]."""
    rgb, field = scene(seed, int(rng.integers(SCENES)))
    return _photograph(rng, rgb, field, _window(rng, field), size)


def part_depth(rng: np.random.Generator, size: int, seed: int) -> Array:
    """Draw the depth image of a crop, ``(size, size, 3)``: equal channels, {0} ∪ [0.1, 0.9]."""
    _, field = scene(seed, int(rng.integers(SCENES)))
    return as_depth(rng, _cropped(field, _window(rng, field), size))


def part_pair(rng: np.random.Generator, size: int, seed: int) -> tuple[Array, Array]:
    """Draw a photograph and the depth image of the same crop, ``(size, size, 3)`` each."""
    rgb, field = scene(seed, int(rng.integers(SCENES)))
    box = _window(rng, field)
    return _photograph(rng, rgb, field, box, size), as_depth(rng, _cropped(field, box, size))


def _photograph(
    rng: np.random.Generator, rgb: NDArray[np.uint8], field: Field, box: Box, size: int
) -> Array:
    if rng.random() < 0.6:
        image = Image.fromarray(rgb).resize((size, size), Image.Resampling.BILINEAR, box)
        return np.asarray(image, dtype=np.float32) / np.float32(255)
    return photograph(rng, _cropped(field, box, size))


def _cropped(field: Field, box: Box, size: int) -> Field:
    """Return the surface within a box, again 2 wide, ``(size, size)``."""
    height = Image.fromarray(field.height).resize((size, size), Image.Resampling.BILINEAR, box)
    part = Image.fromarray(field.part).resize((size, size), Image.Resampling.NEAREST, box)
    enlarged = np.asarray(height) * np.float32(SIDE / (box[2] - box[0]))
    return Field(enlarged, np.asarray(part))


def _window(rng: np.random.Generator, field: Field) -> Box:
    """Choose a square with a pixel of the part in its middle half."""
    side = int(SIDE * rng.uniform(0.4, 1))
    rows, columns = np.nonzero(field.part)
    pick = rng.integers(len(rows))
    middle = np.array([rows[pick], columns[pick]]) + rng.uniform(-0.25, 0.25, 2) * side
    top, left = np.clip(middle - side / 2, 0, SIDE - side).astype(int)
    return int(left), int(top), int(left) + side, int(top) + side
