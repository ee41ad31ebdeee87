"""Anomalies made of normal images: CutPaste, CutMix, and textures under a Perlin mask.

None of them sees a real anomaly. Each returns the image and the mask of what it changed.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fsad.errors import check_shape
from fsad.functional.perlin import perlin_field
from fsad.functional.rotation import rotate_each

Made = tuple[Tensor, Tensor]
"""An image ``(3, S, S)`` in [0, 1], and the changed pixels, ``(S, S)`` bool."""
Generator = Callable[[Tensor, Tensor, np.random.Generator], Made]
"""``(image, another normal image, rng)`` to what it makes."""

AREA = (0.02, 0.15)  # of the image
ASPECT = (0.3, 1 / 0.3)
JITTER = 0.1
SCALES = 6  # of the Perlin noise: 1 to 32 periods
THRESHOLD = 0.5
STRONGEST = 0.8  # share of the image that may shine through a texture
TILES = 4


def cut_paste(image: Tensor, donor: Tensor, rng: np.random.Generator) -> Made:  # noqa: ARG001
    """Paste a patch of an image, its colours jittered, elsewhere into the same image.

    Args:
        image: ``(3, S, S)``, values in [0, 1].
        donor: Not looked at.
        rng: The only source of randomness.

    Returns:
        The image, and the pixels that were pasted over.

    Raises:
        ShapeError: ``image`` is no square of three colours.

    Source:
        Li et al., CutPaste (CVPR 2021); area 2 to 15 % and aspect 0.3 to 3.3 as in DRA (CVPR 2022),
        whose code calls it CutMix. Departure: hue is not jittered.
    """
    return _pasted(image, image, rng, jitter=True)


def cut_mix(image: Tensor, donor: Tensor, rng: np.random.Generator) -> Made:
    """Paste a patch of another normal image; arguments and sizes as of :func:`cut_paste`.

    Source:
        Yun et al., CutMix (ICCV 2019), as AHL (CVPR 2024) uses it. Departure: the patch comes from
        the donor at the size that is pasted.
    """
    return _pasted(image, donor, rng, jitter=False)


def perlin_texture(image: Tensor, donor: Tensor, rng: np.random.Generator) -> Made:
    r"""Lay a texture under a mask of thresholded Perlin noise over an image.

    .. math:: x' = x (1 - m) + (1 - \beta) A m + \beta x m, \qquad \beta \sim U(0, 0.8)

    Args:
        image: ``(3, S, S)``, values in [0, 1].
        donor: Another normal image, ``(3, S, S)``, of which the texture A is made: its tiles
            shuffled, its colours permuted, and now and then inverted.
        rng: The only source of randomness.

    Returns:
        The image and the mask m, never empty.

    Raises:
        ShapeError: ``image`` is no square of three colours.

    Source:
        Zavrtanik et al., DRAEM (ICCV 2021), eq. (2). Departures: textures are made of normal
        images, for DTD need not be at hand; noise that nowhere passes the threshold is thresholded
        at the largest 2 % of its values instead.
    """
    size = _side(image)
    periods = tuple(int(2 ** rng.integers(SCALES)) for _ in range(2))
    noise = torch.from_numpy(perlin_field(size, (periods[0], periods[1]), rng)).to(image)
    noise = rotate_each(noise[None, None], noise.new_tensor([rng.uniform(-90, 90)]))[0, 0]
    mask = noise > THRESHOLD
    if not mask.any():
        mask = noise > noise.flatten().kthvalue(max(1, math.floor(0.98 * noise.numel()))).values
    share = rng.uniform(0, STRONGEST)
    changed = (1 - share) * _texture(donor, rng) + share * image
    return torch.where(mask, changed, image), mask


GENERATORS: dict[str, Generator] = {
    "cutmix": cut_mix,
    "cutpaste": cut_paste,
    "perlin": perlin_texture,
}
"""All of them by name."""


def _side(image: Tensor) -> int:
    height = check_shape("image", image, "c H W", c=3)["H"]
    return check_shape("image", image, "c H W", c=3, H=height, W=height)["W"]


def _pasted(image: Tensor, donor: Tensor, rng: np.random.Generator, jitter: bool) -> Made:
    size = _side(image)
    area = rng.uniform(*AREA) * size**2
    aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
    height = min(size, max(1, round(math.sqrt(area / aspect))))
    width = min(size, max(1, round(math.sqrt(area * aspect))))
    top, left, down, right = (
        int(rng.integers(size - side + 1)) for side in (height, width, height, width)
    )
    patch = donor[:, top : top + height, left : left + width]
    changed, mask = image.clone(), torch.zeros_like(image[0], dtype=torch.bool)
    changed[:, down : down + height, right : right + width] = (
        _jittered(patch, rng) if jitter else patch
    )
    mask[down : down + height, right : right + width] = True
    return changed, mask


def _jittered(patch: Tensor, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast and saturation by up to :data:`JITTER`."""
    light, contrast, colour = (float(it) for it in rng.uniform(1 - JITTER, 1 + JITTER, 3))
    patch = patch * light
    patch = patch.mean() + contrast * (patch - patch.mean())
    grey = patch.mean(dim=0, keepdim=True)
    return (grey + colour * (patch - grey)).clamp(0, 1)


def _texture(donor: Tensor, rng: np.random.Generator) -> Tensor:
    """Make something of an image that it does not look like."""
    size = donor.shape[-1]
    step = -(-size // TILES)
    padded = torch.nn.functional.pad(donor[None], (0, step * TILES - size) * 2, mode="replicate")
    rows = padded[0].reshape(3, TILES, step, TILES, step).permute(1, 3, 0, 2, 4).flatten(0, 1)
    tiles = rows[rng.permutation(TILES**2).tolist()].reshape(TILES, TILES, 3, step, step)
    texture = tiles.permute(2, 0, 3, 1, 4).reshape(3, TILES * step, TILES * step)[:, :size, :size]
    texture = texture[rng.permutation(3).tolist()]
    inverted: Tensor = 1 - texture
    return inverted if rng.random() < 0.5 else texture
