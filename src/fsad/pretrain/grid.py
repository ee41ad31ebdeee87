"""What every kind of image shares: pixel coordinates, smooth steps, blur and power laws."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Array = NDArray[np.float32]


@lru_cache(maxsize=4)
def axes(size: int) -> tuple[Array, Array]:
    """Return the coordinates ``u`` (to the right) and ``v`` (down) of each pixel's centre.

    Args:
        size: Height and width, pixels.

    Returns:
        Two read-only arrays ``(size, size)`` in (-1, 1).
    """
    axis = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    u, v = np.meshgrid(axis, axis)
    u.setflags(write=False)
    v.setflags(write=False)
    return u, v


def rotated_coordinates(
    rng: np.random.Generator, size: int, reach: float = 0.8
) -> tuple[Array, Array]:
    """Return ``axes(size)`` turned by any angle about a point within ``reach`` of the centre."""
    u, v = axes(size)
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y = rng.uniform(-reach, reach, 2).astype(np.float32)
    return cos * (u - x) + sin * (v - y), cos * (v - y) - sin * (u - x)


def rise(low: float | np.floating, high: float | np.floating, value: Array) -> Array:
    """Rise from 0 at ``low`` to 1 at ``high`` with level ends; falls if ``low > high``."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def blurred(mask: NDArray[np.bool_], radius: float) -> Array:
    """Return a mask with soft edges, ``(H, W)`` in [0, 1]; ``radius`` in pixels."""
    soft = Image.fromarray(np.uint8(255) * mask).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(soft, dtype=np.float32) / np.float32(255)


def power_law(rng: np.random.Generator, low: float, high: float, count: int) -> Array:
    r"""Draw sizes with density :math:`r^{-3}`: every octave covers the same area.

    Returns:
        ``(count,)`` in [low, high].

    Source:
        Lee, Mumford & Huang, "Occlusion models for natural images", 2001: with the cube law, dead
        leaves look alike at every scale.
    """
    share = rng.random(count)
    return np.asarray((low**-2 + share * (high**-2 - low**-2)) ** -0.5, dtype=np.float32)
