"""Perturbation factors: Perlin noise, so that neighbouring channels are disturbed alike."""

import math

import numpy as np
import torch
from perlin_numpy import generate_fractal_noise_2d, generate_perlin_noise_2d
from torch import Tensor

from fsad.errors import check_at_least, check_positive

# The three constants that the published code leaves recoverable.
OCTAVES = 3
PERSISTENCE = 0.5
LACUNARITY = 2
PERIODS = 2  # of the coarsest octave, along each side of the grid
MIN_SIDE = 4 * PERIODS * LACUNARITY ** (OCTAVES - 1)  # four samples per period of the finest octave


def channel_factors(
    images: int, channels: int, std: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Draw one pair of factors per channel.

    A two-dimensional noise field is folded, row after row, onto the channels.

    Args:
        images: Number of independent draws, n.
        channels: Number of channels, c.
        std: Standard deviation of each draw over its channels; the paper's is 0.75.
        rng: The only source of randomness.

    Returns:
        ``p_avg`` and ``p_std``, each ``(n, c, 1, 1)``, every draw with mean 0 and standard
        deviation ``std``.

    Raises:
        ConfigError: ``images`` or ``channels`` is too small, or ``std`` is not positive.

    Source:
        HyperTrans, section "domain perturbation": "dimensions matching the feature channels".
    """
    check_at_least("channels", channels, 2)
    side = math.isqrt(channels - 1) + 1
    field = _fields(2 * images, side, std, rng, keep=channels)
    factors = torch.from_numpy(field).reshape(2, images, channels, 1, 1)
    return factors[0], factors[1]


def perlin_field(side: int, periods: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw Perlin noise on a square.

    Args:
        side: Height and width of the square.
        periods: Of the noise along each side of the smallest power of two that holds the square;
            themselves powers of two.
        rng: The only source of randomness.

    Returns:
        ``(side, side)``, float32, mean about 0, values in about [-1, 1].

    Raises:
        ConfigError: ``side`` is below 1.
    """
    check_at_least("side", side, 1)
    # Sizes whose quotient by the periods is no power of two fail by a rounding error.
    whole = max(1 << (side - 1).bit_length(), 2 * max(periods))
    field: np.ndarray = generate_perlin_noise_2d((whole, whole), periods, rng=rng)
    return field[:side, :side].astype(np.float32)


def _fields(draws: int, width: int, std: float, rng: np.random.Generator, keep: int) -> np.ndarray:
    """Return ``(draws, keep)`` float32 noise values, each draw standardised."""
    check_at_least("images", draws // 2, 1)
    check_positive("std", std)
    # perlin-numpy needs sizes whose quotient by the periods is a power of two (others fail by a
    # rounding error), so draw a larger grid and crop it.
    side = max(MIN_SIDE, 1 << (width - 1).bit_length())
    out = np.empty((draws, keep), dtype=np.float32)
    for row in out:
        grid = generate_fractal_noise_2d(
            (side, side), (PERIODS, PERIODS), OCTAVES, PERSISTENCE, LACUNARITY, rng=rng
        )
        values = grid[:width, :width].reshape(-1)[:keep]
        row[:] = (values - values.mean()) * (std / values.std())
    return out
