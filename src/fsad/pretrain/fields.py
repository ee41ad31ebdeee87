"""Height fields: random surfaces with bumps, steps, grooves, rings, holes and plates."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsad.pretrain.grid import Array, rise, rotated_coordinates
from fsad.pretrain.noise import fractal_noise


@dataclass(frozen=True)
class Field:
    """A surface seen from above.

    Attributes:
        height: ``(H, W)``; the image is 2 wide.
        part: Where a part stands out from the table, ``(H, W)``; everywhere if there is none.
    """

    height: Array
    part: NDArray[np.bool_]


def height_field(rng: np.random.Generator, size: int) -> Field:
    """Draw a surface that fills the image, or a part with such a surface on a table."""
    surface = _surface(rng, size)
    if rng.random() < 0.4:
        return Field(surface, np.ones((size, size), np.bool_))
    inside = _inside(rng, size)
    slope = rng.uniform(0.02, 0.3)
    edge = rise(0, slope, inside)
    round_ = np.sqrt(np.clip(inside, 0, 1)) * np.float32(rng.choice([0, 0.15, 0.4]))
    height = edge * (np.float32(rng.uniform(0.1, 0.35)) + round_ + surface)
    return Field(np.maximum(height, 0), edge > 0)


def _surface(rng: np.random.Generator, size: int) -> Array:
    """Return rolling ground with some shapes on it."""
    roll = np.float32(rng.choice([0, 0.01, 0.06])) * fractal_noise(rng, size, rng.uniform(3, 4.5))
    rough = np.float32(np.exp(rng.uniform(-8, -5)))
    height = roll + rough * fractal_noise(rng, size, rng.uniform(0.5, 2))
    for _ in range(int(rng.integers(1, 7))):
        shape = SHAPES[rng.integers(len(SHAPES))]
        size_of = np.float32(rng.choice([-1, 1]) * np.exp(rng.uniform(-4, -1.8)))
        height += size_of * shape(rng, *rotated_coordinates(rng, size))
    return np.asarray(height)


def _inside(rng: np.random.Generator, size: int) -> Array:
    """Return 1 at a part's middle, 0 at its rim and less outside: round, lobed or a box."""
    x, y = rotated_coordinates(rng, size, 0.25)
    wide, high = rng.uniform(0.35, 0.85, 2)
    if rng.random() < 0.35:
        power = np.float32(rng.uniform(3, 10))
        radius = (np.abs(x / wide) ** power + np.abs(y / high) ** power) ** (1 / power)
    else:
        radius = np.hypot(x / np.float32(wide), y / np.float32(high))
        if rng.random() < 0.6:
            angle = np.arctan2(y, x)
            waves = np.float32(rng.integers(2, 8))
            radius *= 1 + np.float32(rng.uniform(0, 0.2)) * np.cos(waves * angle)
    inside = 1 - radius
    if rng.random() < 0.25:  # a ring
        hole = np.float32(rng.uniform(0.2, 0.6))
        inside = np.minimum(inside, radius - hole) / (1 - hole) * 2
    return np.asarray(inside, dtype=np.float32)


def _bump(rng: np.random.Generator, x: Array, y: Array) -> Array:
    wide, high = rng.uniform(5, 150, 2).astype(np.float32)
    return np.asarray(np.exp(-wide * x * x - high * y * y))


def _step(rng: np.random.Generator, x: Array, y: Array) -> Array:
    edge = x + np.float32(rng.normal(0, 0.3)) * y * y
    return rise(0, rng.uniform(0.02, 0.5), edge)


def _groove(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """A line, ended or endless, slightly bent."""
    edge = np.abs(x + np.float32(rng.normal(0, 0.3)) * y * y)
    wide, end = rng.uniform(0.02, 0.12), rng.uniform(0.1, 2.5)
    return rise(wide, wide * rng.uniform(0, 0.7), edge) * rise(end, 0.9 * end, np.abs(y))


def _ring(rng: np.random.Generator, x: Array, y: Array) -> Array:
    wide = np.float32(rng.uniform(0.02, 0.1))
    away = (np.hypot(x, y) - np.float32(rng.uniform(0.1, 0.9))) / wide
    return np.exp(-away * away)


def _disc(rng: np.random.Generator, x: Array, y: Array) -> Array:
    radius = rng.uniform(0.04, 0.4)
    return rise(radius, radius * rng.uniform(0.5, 0.95), np.hypot(x, y))


def _plate(rng: np.random.Generator, x: Array, y: Array) -> Array:
    wide, high = rng.uniform(0.08, 0.8, 2).astype(np.float32)
    away = np.maximum(np.abs(x) - wide, np.abs(y) - high)
    return rise(0, -rng.uniform(0.02, 0.08), away)


def _waves(rng: np.random.Generator, x: Array, y: Array) -> Array:
    along = x if rng.random() < 0.5 else np.hypot(x, y)
    return np.float32(0.4) * np.cos(np.float32(rng.uniform(8, 40)) * along)


def _holes(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """A row or a grid of equal discs."""
    pace = np.float32(rng.uniform(0.15, 0.5))
    x = np.mod(x, pace) - pace / 2
    if rng.random() < 0.6:
        y = np.mod(y, pace) - pace / 2
    radius = pace * rng.uniform(0.15, 0.45)
    return rise(radius, radius * rng.uniform(0.5, 0.9), np.hypot(x, y))


SHAPES: tuple[Callable[[np.random.Generator, Array, Array], Array], ...] = (
    _bump,
    _bump,
    _step,
    _groove,
    _ring,
    _disc,
    _plate,
    _waves,
    _holes,
)
