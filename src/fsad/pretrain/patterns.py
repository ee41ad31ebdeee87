"""Patterns that people make: stripes, checks, grids, weaves and brushed surfaces."""

import numpy as np

from fsad.pretrain.colour import ramp
from fsad.pretrain.grid import Array, axes, rise, rotated_coordinates
from fsad.pretrain.noise import fractal_noise


def pattern(rng: np.random.Generator, size: int) -> Array:
    """Draw one pattern, slightly bent, worn and unevenly lit, ``(size, size, 3)`` in [0, 1]."""
    draw = (_stripes, _checks, _lattice, _tiles, _weave, _brushed)[rng.integers(6)]
    x, y = rotated_coordinates(rng, size)
    bend = np.float32(rng.choice([0, 0.005, 0.03])) * fractal_noise(rng, size, 4)
    value = draw(rng, x + bend, y - bend)
    wear = np.float32(rng.uniform(0, 0.5)) * fractal_noise(rng, size, rng.uniform(0.5, 2.5))
    u, v = axes(size)
    light = 1 + np.float32(rng.normal(0, 0.2)) * u + np.float32(rng.normal(0, 0.2)) * v
    return np.clip(ramp(rng, value + wear) * light[..., None], 0, 1)


def _wave(rng: np.random.Generator, x: Array, pace: float) -> Array:
    """Return a periodic profile in [-1.5, 1.5], anything from a sine to sharp bars."""
    sharp = np.float32(np.exp(rng.uniform(0, 3)))
    return np.asarray(
        1.5
        * np.clip(sharp * (np.cos(np.float32(pace) * x) + np.float32(rng.normal(0, 0.3))), -1, 1)
    )


def _stripes(rng: np.random.Generator, x: Array, y: Array) -> Array:
    value = _wave(rng, x, np.exp(rng.uniform(2, 4.6)))
    if rng.random() < 0.4:
        value = value + 0.5 * _wave(rng, y, np.exp(rng.uniform(1.5, 4)))
    return value


def _checks(rng: np.random.Generator, x: Array, y: Array) -> Array:
    pace = np.exp(rng.uniform(1.6, 4))
    sharp = np.float32(np.exp(rng.uniform(0.5, 3)))
    product = np.sin(np.float32(pace) * x) * np.sin(np.float32(pace * rng.uniform(0.7, 1.4)) * y)
    return np.asarray(1.4 * np.clip(sharp * product, -1, 1))


def _cells(
    rng: np.random.Generator, x: Array, y: Array, pace: float, jitter: float
) -> tuple[Array, Array, Array]:
    """Return coordinates in [-0.5, 0.5] within each cell of a grid, and a number per cell."""
    x, y = x * np.float32(pace), y * np.float32(pace * rng.uniform(0.6, 1.6))
    row, column = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    chance = rng.uniform(-0.5, 0.5, (3, 61, 67)).astype(np.float32)
    moved = chance[:, row % 61, column % 67]
    inside = np.float32(jitter)
    return x - column - 0.5 + inside * moved[0], y - row - 0.5 + inside * moved[1], moved[2]


def _lattice(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Dots or squares on a grid, each a little out of place: perforated sheet, studs."""
    x, y, own = _cells(rng, x, y, rng.uniform(3, 16), rng.uniform(0, 0.4))
    distance = np.hypot(x, y) if rng.random() < 0.6 else np.maximum(np.abs(x), np.abs(y))
    radius = rng.uniform(0.12, 0.35) + np.float32(rng.uniform(0, 0.15)) * own
    value = 3 * rise(0.06, -0.02, distance - radius) - 1.5
    if rng.random() < 0.5:
        value = value - rise(0.5, 0.0, distance)  # lit from inside out
    return np.asarray(value)


def _tiles(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Tiles or bricks with joints, each of another tone."""
    pace = rng.uniform(2, 10)
    if rng.random() < 0.5:  # every second row is half a brick further
        x = x + np.float32(0.5 / pace) * (np.floor(y * np.float32(pace)) % 2)
    x, y, own = _cells(rng, x, y, pace, 0)
    joint = rise(0.5, 0.5 - rng.uniform(0.03, 0.12), np.maximum(np.abs(x), np.abs(y)))
    tone = np.float32(rng.uniform(0.3, 2.5)) * own + np.float32(rng.uniform(0, 1)) * (x - y)
    return np.asarray(joint * (1 + tone) - 1)


def _weave(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Threads over and under each other."""
    pace = rng.uniform(6, 30)
    row, column = np.floor(y * np.float32(pace)), np.floor(x * np.float32(pace))
    over = (row + column) % 2 == 0
    across = np.abs(np.where(over, y * np.float32(pace) - row, x * np.float32(pace) - column) - 0.5)
    along = np.abs(np.where(over, x * np.float32(pace) - column, y * np.float32(pace) - row) - 0.5)
    tone = np.where(over, np.float32(rng.normal(0, 0.5)), np.float32(rng.normal(0, 0.5)))
    return np.asarray(1.2 - 6 * across * across - 3 * along * along + tone)


def _brushed(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Fine lines, straight or turned about a centre."""
    size = len(x)
    if rng.random() < 0.6:
        return fractal_noise(
            rng, size, rng.uniform(1, 2.5), rng.uniform(8, 60), rng.uniform(0, np.pi)
        )
    line = rng.standard_normal(1024).astype(np.float32)
    radius = np.hypot(x, y) * np.float32(rng.uniform(60, 200))
    ring = line[radius.astype(np.int64) % 1024]
    sheen = np.cos(2 * np.arctan2(y, x) + np.float32(rng.uniform(0, 7)))
    return np.asarray(0.6 * ring + sheen)
