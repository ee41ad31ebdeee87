"""Seeded data with the shape of the real thing: patch features, test scores, masks, images.

Only NumPy, and a value depends on nothing but the arguments.
"""

import numpy as np
from numpy.typing import NDArray

GRID = 28  # patches along each side of a 224 pixel image with 8 pixel patches
PATCHES = GRID * GRID
RANK = 128  # of the latent space
CHUNK = 8192  # rows made at a time, so that making them takes no memory of note

Floats = NDArray[np.float32]


def patch_features(rows: int, channels: int, seed: int = 0) -> Floats:
    r"""Draw features that lie like those of aligned images of one part.

    Row ``i`` is patch ``i mod 784`` of some image:
    :math:`f_i = (\mu_{p(i)} + s_{p(i)} z_i) B`, with prototypes :math:`\mu` of spectrum
    :math:`j^{-1.2}` and deviations :math:`z` of spectrum :math:`j^{-0.8}` in 128 latent dimensions,
    :math:`s` log-normal (median 0.2, deviation 0.6). Measured against ResNet-18 features
    (layers 2 and 3) of 40 aligned photographs of a cable gland, 31,360 x 384: the nearest
    neighbour's distance over the median pair distance is 0.11, 0.16, 0.24 (quartiles; real 0.11,
    0.15, 0.28), the first 1, 4, 16, 64 principal components hold 25, 51, 75, 94 % of the variance
    (real 25, 43, 70, 91 %), the cover radius of 10, 1000, 3135 greedy picks over the median pair
    distance is 1.4, 0.68, 0.45 (real 1.9, 0.68, 0.49).

    Args:
        rows: Number of patches, v.
        channels: Channels of a patch, c.
        seed: Seed of the rows; prototypes and basis stay the same, as for two sets of images of
            one part.

    Returns:
        Features, ``(v, c)``, z-scored by one mean and one deviation.
    """
    fixed = np.random.default_rng(0)
    rank = min(RANK, channels)
    basis = fixed.standard_normal((rank, channels), dtype=np.float32)
    prototypes = fixed.standard_normal((PATCHES, rank), dtype=np.float32) * _spectrum(rank, 1.2)
    scales = np.float32(0.2) * np.exp(
        np.float32(0.6) * fixed.standard_normal((PATCHES, 1), dtype=np.float32)
    )
    rng = np.random.default_rng([seed, rows, channels])
    features = np.empty((rows, channels), dtype=np.float32)
    for start in range(0, rows, CHUNK):
        part = features[start : start + CHUNK]
        place = np.arange(start, start + len(part)) % PATCHES
        deviation = rng.standard_normal((len(part), rank), dtype=np.float32) * _spectrum(rank, 0.8)
        np.matmul(prototypes[place] + scales[place] * deviation, basis, out=part)
    sample = features[:: max(1, rows // 4096)]
    features -= sample.mean()
    features /= sample.std()
    return features


def _spectrum(rank: int, exponent: float) -> Floats:
    """Return standard deviations falling by a power law, with mean square 1 over ``rank``."""
    variance = np.arange(1, rank + 1, dtype=np.float32) ** np.float32(-exponent)
    deviation: Floats = np.sqrt(variance / variance.sum())
    return deviation


def patch_scores(images: int, seed: int = 0) -> tuple[Floats, NDArray[np.bool_]]:
    """Draw patch scores as distances are, and masks of one or two defects in every second image.

    Args:
        images: Number of test images, n.
        seed: Seed of both.

    Returns:
        Scores ``(n, 28, 28)``, positive, higher on most defects; and masks ``(n, 224, 224)``.
    """
    rng = np.random.default_rng([seed, images])
    scores = 20 + 4 * rng.standard_normal((images, GRID, GRID), dtype=np.float32)
    masks = np.zeros((images, 8 * GRID, 8 * GRID), dtype=bool)
    for image in range(0, images, 2):
        for _ in range(1 + image % 4 // 2):
            top, left = rng.integers(0, GRID - 6, size=2)
            height, width = rng.integers(2, 6, size=2)
            masks[image, 8 * top : 8 * (top + height), 8 * left : 8 * (left + width)] = True
            scores[image, top : top + height, left : left + width] += rng.uniform(0, 12)
    return scores, masks


def pictures(images: int, size: int, seed: int = 0) -> Floats:
    """Draw coarse pictures ``(n, 3, size, size)`` in [0, 1], to keep a backbone busy."""
    rng = np.random.default_rng([seed, images, size])
    coarse = rng.random((images, 3, 8, 8), dtype=np.float32)
    return np.kron(coarse, np.ones((1, 1, -(-size // 8), -(-size // 8)), dtype=np.float32))[
        ..., :size, :size
    ]
