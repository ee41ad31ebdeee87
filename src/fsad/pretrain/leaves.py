"""Dead leaves: shapes of all sizes that hide each other, each with a material of its own."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fsad.pretrain.colour import colours
from fsad.pretrain.grid import Array, axes, blurred, power_law
from fsad.pretrain.noise import fractal_noise

CORNERS = 20


def dead_leaves(rng: np.random.Generator, size: int) -> Array:
    """Draw an image of occluding shapes, ``(size, size, 3)`` in [0, 1].

    Radii follow a power law, so edges appear at every scale. Each shape has its colour, a gradient,
    and stripes or noise; the ones in front cast a shadow on those behind.

    Source:
        Baradad et al., "Learning to see by looking at noise", NeurIPS 2021: dead leaves with
        textures teach more than plain noise does.
    """
    count = int(rng.integers(40, 260))
    radii = power_law(rng, np.exp(rng.uniform(-3.5, -1.3)), rng.uniform(0.5, 1.2), count)
    centres = rng.uniform(-1.1, 1.1, (count, 2)).astype(np.float32)
    if rng.random() < 0.5:  # large ones behind, so that most of them stay in sight
        radii = np.sort(radii)[::-1]
    labels = _stack(_outlines(rng, radii, centres), size)
    image = _painted(rng, labels, np.append(2, radii), np.vstack([[[0, 0]], centres]))
    return np.asarray(np.clip(image * _shadow(rng, labels)[..., None], 0, 1))


def _outlines(rng: np.random.Generator, radii: Array, centres: Array) -> list[Array]:
    """Return one outline per shape: ellipses, uneven blobs and polygons of 3 to 7 corners."""
    count = len(radii)
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False) + rng.uniform(0, 7, (count, 1))
    waves = rng.uniform(0, 0.25, (count, 3, 1)) * (rng.random((count, 1, 1)) < 0.5)
    phase = rng.uniform(0, 2 * np.pi, (count, 3, 1))
    rim = 1 + (waves * np.cos(np.array([[2], [3], [5]]) * angle[:, None] + phase)).sum(axis=1)
    corners = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * (radii[:, None] * rim)[..., None]
    corners[..., 0] *= rng.uniform(0.2, 1, (count, 1))
    turn = rng.uniform(0, 2 * np.pi, (count, 1))
    x = np.cos(turn) * corners[..., 0] - np.sin(turn) * corners[..., 1]
    y = np.sin(turn) * corners[..., 0] + np.cos(turn) * corners[..., 1]
    placed = np.stack([x, y], axis=-1) + centres[:, None]
    sides = np.where(rng.random(count) < 0.4, rng.integers(3, 8, count), CORNERS)
    return [
        outline[np.arange(side) * CORNERS // side]
        for outline, side in zip(placed, sides, strict=True)
    ]


def _stack(outlines: list[Array], size: int) -> NDArray[np.int32]:
    """Return which shape is in front at each pixel, from 1 on; 0 is the ground."""
    canvas = Image.new("I", (size, size), 0)
    draw = ImageDraw.Draw(canvas)
    for label, outline in enumerate(outlines, start=1):
        draw.polygon(((outline + 1) * (size / 2)).ravel().tolist(), fill=label)
    return np.array(canvas, dtype=np.int32)


def _painted(
    rng: np.random.Generator, labels: NDArray[np.int32], radii: Array, centres: Array
) -> Array:
    """Fill each shape: ``(colour + second colour * texture) * light``."""
    size, count = len(labels), len(radii)
    u, v = axes(size)
    plain = rng.random(count) < 0.25
    amount = np.where(plain, 0, rng.gamma(1.5, 0.08, count)).astype(np.float32)
    hue = rng.normal(1, 0.3, (count, 3)) * amount[:, None]
    reach = rng.normal(0, 0.2, (3, count)) / np.maximum(radii, 0.1)
    facts = np.stack([*centres.T, reach[0], reach[1], np.abs(reach[2]) / radii], axis=0)
    x, y, right, down, dome = facts.astype(np.float32)[:, labels]
    x, y = u - x, v - y
    light = np.clip(1 + right * x + down * y - dome * (x * x + y * y), 0.15, 1.6)
    texture = _texture(rng, labels, count)
    colour, second = colours(rng, count)[labels], hue.astype(np.float32)[labels]
    return np.asarray((colour + second * texture[..., None]) * light[..., None])


def _texture(rng: np.random.Generator, labels: NDArray[np.int32], count: int) -> Array:
    """Return a field of about unit size: a piece of one of three noises, or stripes."""
    size = len(labels)
    u, v = axes(size)
    fields = np.stack(
        [
            fractal_noise(rng, size, rng.uniform(2, 3)),
            fractal_noise(rng, size, rng.uniform(0.5, 1.5)),
            fractal_noise(rng, size, 2, rng.uniform(3, 12), rng.uniform(0, np.pi)),
        ]
    )
    which, shift = rng.integers(0, 3, count), rng.integers(0, size * size, count)
    # A shift along the flattened field moves down and right at once and costs one index.
    place = (np.arange(size * size).reshape(size, size) + shift[labels]) % (size * size)
    noise = fields.reshape(-1)[place + (size * size * which)[labels]]

    striped = rng.random(count) < 0.2
    angle, pace = rng.uniform(0, np.pi, count), rng.uniform(10, 90, count)
    wave = np.stack([pace * np.cos(angle), pace * np.sin(angle)]).astype(np.float32)[:, labels]
    stripes = np.sin(wave[0] * u + wave[1] * v)
    return np.asarray(np.where(striped[labels], stripes * np.float32(1.4), noise))


def _shadow(rng: np.random.Generator, labels: NDArray[np.int32]) -> Array:
    """Return the light that is left where something in front stands between lamp and pixel."""
    size = len(labels)
    down, right = rng.integers(-size // 40, size // 40 + 1, 2)
    ahead = np.roll(labels, (down, right), axis=(0, 1))
    return np.asarray(1 - np.float32(rng.uniform(0, 0.7)) * blurred(ahead > labels, size / 112))
