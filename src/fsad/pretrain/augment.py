"""What happens to an image after it is drawn: figure and ground, turns, colour and the lens."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from fsad.pretrain.grid import Array, blurred
from fsad.pretrain.noise import fractal_noise

_BLUR = (0.4, 0.4, 0.4, 0.7, 0.7, 1.0, 1.0, 2.0)  # radii in pixels


def pasted(rng: np.random.Generator, ground: Array, figure: Array) -> Array:
    """Lay a figure over a ground through a random mask, with a shadow; ``(H, W, 3)``."""
    size = len(ground)
    mask = _mask(rng, size)
    down, right = rng.integers(-size // 30, size // 30 + 1, 2)
    fall = np.roll(mask, (down, right), axis=(0, 1))
    shadow = 1 - np.float32(rng.uniform(0, 0.6)) * blurred(fall, size / 75)[..., None]
    share = blurred(mask, rng.uniform(0.5, 1.5))[..., None]
    return np.asarray(figure * share + ground * shadow * (1 - share))


def _mask(rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """Return where the figure is: a few blobs or boxes, or where a smooth field is high."""
    if rng.random() < 0.3:
        return np.asarray(fractal_noise(rng, size, 4) > rng.uniform(-0.5, 0.7))
    canvas = Image.new("1", (size, size))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(1, 5))):
        corners = int(rng.choice([3, 4, 5, 24]))
        angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, 7)
        waves = 1 + rng.uniform(0, 0.3) * np.cos(rng.integers(2, 6) * angle)
        rim = size * rng.uniform(0.12, 0.45) * waves
        x, y = rng.uniform(0.15 * size, 0.85 * size, 2)
        outline = np.stack([x + rim * np.cos(angle), y + rim * np.sin(angle)], axis=1)
        draw.polygon(outline.ravel().tolist(), fill=1)
    return np.asarray(canvas)


def flipped(rng: np.random.Generator, image: Array) -> Array:
    """Turn by a multiple of 90 degrees and mirror, all eight ways alike; a view."""
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    turned = np.rot90(image, turns)
    return turned[:, ::-1] if mirrored else turned


def developed(rng: np.random.Generator, image: Array) -> Array:
    """Let a camera take the image: blur, noise, white balance, gamma, contrast; sometimes grey.

    Args:
        rng: Source of chance.
        image: ``(H, W, 3)`` in [0, 1].

    Returns:
        ``(H, W, 3)`` in [0, 1]; each channel takes at most 256 values, as a photograph's does.
    """
    photo = Image.fromarray((image * np.float32(255)).astype(np.uint8))
    photo = photo.filter(ImageFilter.GaussianBlur(float(rng.choice(_BLUR))))
    if rng.random() < 0.3:
        photo = Image.blend(photo.convert("L").convert("RGB"), photo, rng.uniform(0.3, 1.7))
    if rng.random() < 0.12:
        photo = photo.convert("L").convert("RGB")
        balance = np.ones(3)
    else:
        balance = np.exp(rng.normal(0, 0.06, 3))
    pixels = np.asarray(photo)
    table = _curve(rng, pixels) * balance[:, None]
    table = np.clip(table, 0, 1).astype(np.float32)
    if rng.random() < 0.5:
        grain = rng.standard_normal(pixels.shape[:2], dtype=np.float32)[..., None]
        grain = grain * np.float32(255 * np.exp(rng.uniform(-5.5, -3)))
        pixels = np.clip(pixels + grain, 0, 255).astype(np.uint8)
    return np.stack([table[channel][pixels[..., channel]] for channel in range(3)], axis=-1)


def _curve(rng: np.random.Generator, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the output for each of 256 inputs, ``(256,)``: exposed so that little is lost."""
    mean = np.clip(pixels.mean() / 255, 0.02, 0.98)
    gamma = np.log(rng.uniform(0.25, 0.65)) / np.log(mean)
    level = np.linspace(0, 1, 256) ** np.clip(gamma, 0.5, 2)
    middle = (mean ** np.clip(gamma, 0.5, 2) + 0.5) / 2
    spread = level[pixels[::4, ::4]].std()
    contrast = np.clip(rng.uniform(0.1, 0.28) / max(spread, 1e-3), 0.6, 2.5)
    return np.asarray((level - middle) * contrast + middle + rng.normal(0, 0.03))
