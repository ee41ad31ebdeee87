"""Marks on a surface: rows of glyphs, scratches, dots, bars and frames."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fsad.pretrain.colour import colours, ramp
from fsad.pretrain.grid import Array, power_law
from fsad.pretrain.noise import fractal_noise

Ink = tuple[int, int, int]


def marks(rng: np.random.Generator, size: int) -> Array:
    """Draw one to three sorts of marks on an even ground, ``(size, size, 3)`` in [0, 1]."""
    slope, contrast = rng.uniform(1, 3.5), np.float32(rng.uniform(0.05, 0.6))
    ground = np.uint8(255) * np.clip(ramp(rng, contrast * fractal_noise(rng, size, slope)), 0, 1)
    wide = Image.fromarray(ground.astype(np.uint8)).resize((2 * size, 2 * size))
    draw = ImageDraw.Draw(wide)  # drawn twice as large, so that edges are smooth in the end
    sorts = (_text, _text, _scratches, _dots, _bars, _frames)
    for sort in rng.choice(len(sorts), int(rng.integers(1, 4)), replace=False):
        sorts[sort](rng, draw, 2 * size)
    return np.asarray(wide.reduce(2), dtype=np.float32) / np.float32(255)


def _ink(rng: np.random.Generator) -> Ink:
    red, green, blue = (255 * colours(rng, 1)[0]).astype(int).tolist()
    return red, green, blue


def _line(draw: ImageDraw.ImageDraw, points: NDArray[np.floating], ink: Ink, width: float) -> None:
    draw.line(points.ravel().tolist(), fill=ink, width=max(1, round(width)), joint="curve")


def _text(rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: int) -> None:
    """Rows of glyphs out of an alphabet of a few strokes each, broken into words."""
    high = size * np.exp(rng.uniform(-3.5, -1.6))
    wide, ink = high * rng.uniform(0.5, 0.9), _ink(rng)
    thick = high * rng.uniform(0.06, 0.2)
    alphabet = [_glyph(rng) for _ in range(12)]
    left, top = rng.uniform(0, 0.5 * size), rng.uniform(0, 0.7 * size)
    for row in range(int(rng.integers(1, 7))):
        for place in range(int(rng.integers(3, 16))):
            corner = np.array([left + 1.25 * wide * place, top + 1.6 * high * row])
            if corner.max() > size or rng.random() < 0.15:
                continue
            for stroke in alphabet[rng.integers(12)]:
                _line(draw, corner + stroke * np.array([wide, high]), ink, thick)


def _glyph(rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Return one to three strokes in the unit square: corners of a 3 by 4 grid, or arcs."""
    strokes = []
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.6:
            corners = rng.integers(0, [3, 4], (int(rng.integers(2, 4)), 2))
            strokes.append(corners / np.array([2.0, 3.0]))
        else:
            angle = rng.uniform(0, 7) + np.linspace(0, rng.uniform(2, 6.3), 10)
            arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
            strokes.append(0.5 + arc * np.array([0.5, rng.choice([0.25, 0.5])]))
    return strokes


def _scratches(rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: int) -> None:
    """Thin curves, some short and some right across."""
    for length in size * power_law(rng, 0.1, 1.5, int(rng.integers(2, 30))):
        t = np.linspace(-0.5, 0.5, 12)
        bend = rng.normal(0, 0.4) * t**2 + rng.normal(0, 0.6) * t**3
        angle = rng.uniform(0, 2 * np.pi)
        x = np.cos(angle) * t - np.sin(angle) * bend
        y = np.sin(angle) * t + np.cos(angle) * bend
        points = rng.uniform(0, size, 2) + length * np.stack([x, y], axis=1)
        _line(draw, points, _ink(rng), size * rng.uniform(0.002, 0.012))


def _dots(rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: int) -> None:
    """Round specks with a power law of sizes."""
    inks = [_ink(rng) for _ in range(3)]
    count = int(rng.integers(5, 120))
    for radius in size * power_law(rng, 0.003, rng.uniform(0.02, 0.15), count):
        x, y = rng.uniform(0, size, 2)
        flat = radius * rng.uniform(0.6, 1)
        draw.ellipse((x - radius, y - flat, x + radius, y + flat), fill=inks[rng.integers(3)])


def _bars(rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: int) -> None:
    """A bar code, or a scale with ticks."""
    x, top = rng.uniform(0, 0.5 * size), rng.uniform(0, 0.8 * size)
    bottom, ink = top + size * rng.uniform(0.05, 0.4), _ink(rng)
    unit = size * rng.uniform(0.004, 0.015)
    for _ in range(int(rng.integers(8, 50))):
        width = unit * int(rng.integers(1, 4))
        draw.rectangle((x, top, x + width, bottom), fill=ink)
        x += width + unit * int(rng.integers(1, 4))


def _frames(rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: int) -> None:
    """Outlined or filled boxes and rings."""
    for _ in range(int(rng.integers(1, 6))):
        x, y = rng.uniform(-0.1 * size, 0.9 * size, 2)
        width, height = size * rng.uniform(0.05, 0.6, 2)
        fill = _ink(rng) if rng.random() < 0.4 else None
        shape = draw.rectangle if rng.random() < 0.5 else draw.ellipse
        shape(
            (x, y, x + width, y + height),
            fill=fill,
            outline=_ink(rng),
            width=max(1, round(size * rng.uniform(0.004, 0.04))),
        )
