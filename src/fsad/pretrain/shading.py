"""Two looks of a height field: a photograph under a lamp, and a depth image."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fsad.data.depth import depth_image
from fsad.pretrain.colour import colours, ramp
from fsad.pretrain.fields import Field, height_field
from fsad.pretrain.grid import Array, axes
from fsad.pretrain.noise import fractal, fractal_noise


def relief(rng: np.random.Generator, size: int) -> Array:
    """Draw a lit surface with a coloured material, ``(size, size, 3)`` in [0, 1]."""
    return photograph(rng, height_field(rng, size))


def photograph(rng: np.random.Generator, field: Field) -> Array:
    r"""Light a field by one lamp.

    .. math:: I = (a + d \langle n, l \rangle_+) \, o \, \rho + s \langle n, h \rangle_+^p

    with albedo :math:`\rho`, normal n, lamp l, h half-way between lamp and camera, and o less than
    1 where the surface lies below what surrounds it.

    Returns:
        ``(H, W, 3)`` in [0, 1].
    """
    size = len(field.height)
    down, right = np.gradient(field.height, np.float32(2 / size))
    upright = 1 / np.sqrt(1 + down * down + right * right)

    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(20, 75))
    flat = np.cos(elevation)
    lamp = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
    halfway = lamp + np.array([0, 0, 1])

    def facing(way: NDArray[np.float64]) -> Array:
        x, y, z = (way / np.linalg.norm(way)).astype(np.float32)
        return np.asarray(np.clip((z - right * x - down * y) * upright, 0, 1))

    around = ndimage.uniform_filter(field.height, max(3, size // 12), mode="nearest")
    open_sky = 1 - np.clip(1.5 * (around - field.height), 0, 0.4)
    ambient = np.float32(rng.uniform(0.1, 0.5))
    grey = (ambient + np.float32(rng.uniform(0.6, 1.1)) * facing(lamp)) * open_sky
    gloss = np.float32(max(0, rng.uniform(-0.3, 0.6))) * facing(halfway) ** np.float32(
        np.exp(rng.uniform(2, 4.5))
    )
    image = grey[..., None] * _albedo(rng, field) + gloss[..., None]
    return np.asarray(np.clip(image, 0, 1))


def _albedo(rng: np.random.Generator, field: Field) -> Array:
    """Paint the part and the table, each plain or with a texture."""
    size = len(field.height)
    choice = rng.random()
    if choice < 0.25:
        surface = fractal(rng, size)
    elif choice < 0.6:
        surface = ramp(rng, np.float32(0.4) * fractal_noise(rng, size, rng.uniform(0.5, 2.5)))
    else:
        surface = np.broadcast_to(colours(rng, 1)[0], (size, size, 3))
    if field.part.all():
        return surface
    table = colours(rng, 1)[0] * (1 + 0.06 * fractal_noise(rng, size, 1.0))[..., None]
    return np.where(field.part[..., None], surface, table)


def relief_depth(rng: np.random.Generator, size: int) -> Array:
    """Draw the depth image of a surface, ``(size, size, 3)``: equal channels, {0} ∪ [0.1, 0.9]."""
    return as_depth(rng, height_field(rng, size))


def as_depth(rng: np.random.Generator, field: Field) -> Array:
    """Let a depth sensor look at a field, as ``fsad.data.depth.depth_image`` shows it.

    The sensor has noise and loses points; the view may be tilted or upside down, and the table
    may be cut away, which leaves 0.

    Args:
        rng: Source of chance.
        field: The surface.

    Returns:
        ``(H, W, 3)`` with three equal channels in {0} ∪ [0.1, 0.9].
    """
    shape = field.height.shape
    u, v = axes(len(field.height))
    reach = float(np.ptp(field.height)) + 1e-3
    up = -1 if rng.random() < 0.8 else 1
    z = 10 * reach + up * field.height
    if rng.random() < 0.5:
        right, down = rng.normal(0, 0.3 * reach, 2).astype(np.float32)
        z = z + right * u + down * v
    noise = np.float32(reach * rng.choice([0, 0.003, 0.01, 0.03]))
    z = z + noise * rng.standard_normal(shape, dtype=np.float32)
    if rng.random() < 0.5:
        z[rng.random(shape, dtype=np.float32) < 0.003] = 0
    cut = not field.part.all() and field.part.any() and rng.random() < 0.4
    if cut:
        z[~field.part] = 0
    image = depth_image(z.astype(np.float32), len(z), field.part if cut else None)
    return image.permute(1, 2, 0).numpy()
