"""Fractal noise, and what it turns into when it is bent: marble, wood, clouds, rust."""

from functools import lru_cache

import numpy as np
from scipy import fft

from fsad.pretrain.colour import ramp
from fsad.pretrain.grid import Array, axes, rise, rotated_coordinates


def fractal_noise(
    rng: np.random.Generator, size: int, slope: float, stretch: float = 1.0, angle: float = 0.0
) -> Array:
    r"""Draw Gaussian noise with a power-law spectrum; its edges meet, so it can be tiled.

    .. math:: E|F(f)|^2 \propto |f|^{-a}, \qquad |f|^2 = (s f_\parallel)^2 + f_\perp^2

    Args:
        rng: Source of chance.
        size: Height and width, pixels.
        slope: a; 0 is white, 2 is what photographs have, 4 is smooth.
        stretch: s, how many times longer than wide the grain is.
        angle: Where its long side points, radians.

    Returns:
        ``(size, size)`` with mean 0 and standard deviation 1.
    """
    down, right = _frequencies(size)
    if stretch == 1:
        square = down * down + right * right
    else:
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        along, across = cos * right + sin * down, cos * down - sin * right
        square = (np.float32(stretch) * along) ** 2 + across**2
    square[0, 0] = 1
    white = rng.standard_normal((size, size // 2 + 1, 2), dtype=np.float32).view(np.complex64)
    spectrum = white[..., 0] * square ** np.float32(-slope / 4)
    spectrum[0, 0] = 0
    field = fft.irfft2(spectrum, (size, size))
    return np.asarray(field / field.std())


@lru_cache(maxsize=4)
def _frequencies(size: int) -> tuple[Array, Array]:
    down = fft.fftfreq(size, 1 / size).astype(np.float32)[:, None]
    right = fft.rfftfreq(size, 1 / size).astype(np.float32)[None]
    return down, right


def clouds(rng: np.random.Generator, size: int) -> Array:
    """Draw colour noise, ``(size, size, 3)``: one field through a colour scale, or three mixed."""
    slope = rng.uniform(1.0, 3.5)
    if rng.random() < 0.5:
        return ramp(rng, fractal_noise(rng, size, slope))
    fields = np.stack([fractal_noise(rng, size, slope) for _ in range(3)], axis=-1)
    mix = 0.16 * np.ones((3, 3)) + rng.normal(0, 0.06, (3, 3))  # channels mostly go together
    image = fields @ mix.astype(np.float32) + np.float32(rng.uniform(0.3, 0.7))
    return np.asarray(np.clip(image, 0, 1))


def marble(rng: np.random.Generator, size: int) -> Array:
    """Draw bent bands, ``(size, size, 3)``: veins across one axis, or the rings of wood."""
    x, y = rotated_coordinates(rng, size)
    bend = fractal_noise(rng, size, rng.uniform(2.5, 4))
    if rng.random() < 0.5:  # rings: nearly straight far from a centre outside the image
        x = np.hypot(x + np.float32(rng.uniform(0, 3)), np.float32(rng.uniform(0.1, 0.6)) * y)
    bands = np.float32(rng.uniform(4, 40)) * x + np.float32(rng.uniform(0.3, 4)) * bend
    wave = np.sin(bands)
    if rng.random() < 0.5:
        wave = 1 - 2 * np.abs(wave) ** np.float32(rng.uniform(0.3, 1))  # thin veins
    grain = fractal_noise(rng, size, rng.uniform(0.5, 2))
    return ramp(rng, 1.3 * wave + np.float32(rng.uniform(0.05, 0.5)) * grain)


def blotches(rng: np.random.Generator, size: int) -> Array:
    """Draw two materials, ``(size, size, 3)``, parted where a fractal field crosses a level."""
    field = fractal_noise(rng, size, rng.uniform(2, 3.5))
    level, edge = rng.uniform(-1, 1), rng.uniform(0.02, 0.4)
    share = rise(level - edge, level + edge, field)[..., None]
    coarse, fine = fractal_noise(rng, size, 2.2), fractal_noise(rng, size, 1)
    return ramp(rng, coarse) * share + ramp(rng, 0.6 * fine + 0.4 * coarse) * (1 - share)


def foam(rng: np.random.Generator, size: int) -> Array:
    """Draw folded noise, ``(size, size, 3)``: creases as in leather, stone or crumpled paper."""
    field = np.zeros((size, size), np.float32)
    for octave in range(int(rng.integers(1, 4))):
        field += np.abs(fractal_noise(rng, size, rng.uniform(2, 3))) / 2**octave
    field = (field - field.mean()) / field.std()
    u, v = axes(size)
    light = 1 + np.float32(rng.normal(0, 0.15)) * u + np.float32(rng.normal(0, 0.15)) * v
    return np.clip(ramp(rng, field) * light[..., None], 0, 1)


def fractal(rng: np.random.Generator, size: int) -> Array:
    """Draw one of the noise textures, ``(size, size, 3)`` in [0, 1]."""
    draw = (clouds, marble, blotches, foam)[rng.integers(4)]
    return draw(rng, size)
