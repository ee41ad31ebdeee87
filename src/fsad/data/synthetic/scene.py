"""One part on a table before a camera: everything that chance decides about a good image."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fsad.data.synthetic.parts import Array, Part, smoothstep

DISTANCE = 0.40  # from the camera to the table, metres
FIELD = 0.12  # width of the table that the image shows, metres
NOISE = 1e-4  # standard deviation of a depth reading, metres
MM = 1e-3  # parts are drawn in millimetres, everything else is in metres


@dataclass(frozen=True)
class Scene:
    """A good part as the sensor would see it, and what is needed to see it damaged.

    Attributes:
        rays: Where each pixel looks at depth 1, ``(H, W, 2)``: ``xyz = z * (x, y, 1)``.
        z: Depth of the good surface without noise, ``(H, W)``, metres.
        height: Height of that surface above the table, ``(H, W)``, metres.
        albedo: Colour of the surface, ``(H, W, 3)``, in [0, 1].
        shine: Strength of the highlight, ``(H, W)``, in [0, 1].
        light: Direction towards the lamp, unit vector ``(3,)`` in camera axes.
        exposure: Brightness of the image.
        grey_noise: Noise of the colour camera, ``(H, W, 3)``.
        depth_noise: Noise of the depth sensor, ``(H, W)``, metres.
        valid: Where the depth sensor sees anything, ``(H, W)``.
    """

    rays: Array
    z: Array
    height: Array
    albedo: Array
    shine: Array
    light: Array
    exposure: float
    grey_noise: Array
    depth_noise: Array
    valid: np.typing.NDArray[np.bool_]

    @property
    def pitch(self) -> float:
        """Width of the table under one pixel, metres."""
        return FIELD / len(self.z)


def draw_scene(part: Part, size: int, rng: np.random.Generator) -> Scene:
    """Lay the part somewhere on the table, light it and let the sensor look.

    Position, rotation, tilt of the table, lamp, colours, texture and noise are all drawn here and
    know nothing of defects, so that none of them can tell a good image from a bad one.

    Args:
        part: What lies on the table.
        size: Height and width of the image, pixels.
        rng: Source of all chance.
    """
    pitch = FIELD / size
    axis = (np.arange(size) - (size - 1) / 2) * FIELD / size / DISTANCE
    rays = np.stack(np.meshgrid(axis, axis), axis=-1)  # (H, W, 2)

    distance = DISTANCE + rng.uniform(-6, 6) * MM
    tilt = np.tan(np.deg2rad(rng.uniform(-1, 1, 2)))
    position = rng.uniform(-8, 8, 2) * MM
    angle = np.deg2rad(rng.uniform(-part.turn, part.turn))
    scale = rng.uniform(0.985, 1.015)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / (
        scale * MM
    )

    # The ray meets the surface where z = table(z) - height(z): a fixed point. Its iteration
    # contracts by slope x |ray| < 4 x 0.13 per step; eight steps leave hundredths of a millimetre.
    z = np.full((size, size), distance)
    for _ in range(8):
        ground = z[..., None] * rays
        u, v = np.moveaxis((ground - position) @ turn, -1, 0)
        height = scale * MM * part.height(u, v)
        z = distance + ground @ tilt - height
    on_part = smoothstep(0.0, 0.4 * MM, height)
    roughness = 0.04 * MM * on_part * noise_field(rng, size, 0.7 * MM / pitch)
    z, height = z - roughness, height + roughness

    albedo = _albedo(part, u, v, on_part, rng)
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(40, 60))
    flat = np.cos(elevation)
    light = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), -np.sin(elevation)])
    return Scene(
        rays=rays,
        z=z,
        height=height,
        albedo=albedo,
        shine=part.shine * on_part,
        light=light,
        exposure=rng.uniform(0.85, 1.1),
        grey_noise=0.008 * rng.standard_normal((size, size, 3)),
        depth_noise=NOISE * rng.standard_normal((size, size)),
        valid=_valid(height, pitch, rng),
    )


def noise_field(rng: np.random.Generator, size: int, width: float) -> Array:
    """Return smooth noise with mean about 0 and standard deviation 1, ``(size, size)``.

    Args:
        rng: Source of chance.
        size: Height and width, pixels.
        width: Standard deviation of the Gaussian that smooths it, pixels.
    """
    field = ndimage.gaussian_filter(
        rng.standard_normal((size, size)), width, mode="wrap", truncate=3
    )
    return np.asarray(field / field.std())


def hidden_by(height: Array, direction: Array, pitch: float) -> Array:
    """Measure how far each point lies below the shadow line of a lamp or projector.

    Args:
        height: Height above the table, ``(H, W)``, metres.
        direction: Direction towards the lamp, ``(3,)`` in camera axes.
        pitch: Width of a pixel, metres.

    Returns:
        Metres by which the point would have to rise to be lit, ``(H, W)``; 0 where it is lit.
    """
    flat = np.hypot(direction[0], direction[1])
    climb = pitch * -direction[2] / flat  # the ray's gain of height per pixel
    steps = int(np.ceil(height.max() / climb))
    padded = np.pad(height, steps, mode="edge")
    rows, columns = height.shape
    horizon = height
    for step in range(1, steps + 1):
        top = steps + round(step * direction[1] / flat)
        left = steps + round(step * direction[0] / flat)
        ahead = padded[top : top + rows, left : left + columns]
        horizon = np.maximum(horizon, ahead - step * climb)
    return horizon - height


def _albedo(part: Part, u: Array, v: Array, on_part: Array, rng: np.random.Generator) -> Array:
    """Paint part and table, ``(H, W, 3)``."""
    size = len(u)
    fine, coarse = noise_field(rng, size, 0.5 * size / 256), noise_field(rng, size, size / 24)
    if part.grain == "speckled":
        grain = fine
    else:  # stripes: noise along one coordinate of the part
        along = np.hypot(u, v) if part.grain == "turned" else v
        line = ndimage.gaussian_filter1d(rng.standard_normal(512), 1.2)
        grain = 0.8 * np.interp(along, np.linspace(-128, 128, 512), line / line.std()) + 0.6 * fine
    shade = rng.uniform(0.92, 1.08) * (1 + part.contrast * grain + 0.03 * coarse)
    hue = 1 + rng.uniform(-0.04, 0.04, 3)
    table = rng.uniform(0.30, 0.38) * np.array([0.97, 1.0, 1.04])
    cloth = 1 + 0.05 * noise_field(rng, size, 0.9 * size / 256) - 0.03 * coarse
    of_part = np.array(part.colour) * hue * shade[..., None]
    return np.clip(
        table * cloth[..., None] * (1 - on_part[..., None]) + of_part * on_part[..., None], 0, 1
    )


def _valid(height: Array, pitch: float, rng: np.random.Generator) -> np.typing.NDArray[np.bool_]:
    """Lose points in the projector's shadow, in a few blotches and here and there."""
    projector = np.array([-0.60, 0.08, -0.80])  # mounted left of the camera
    lit = hidden_by(height, projector, pitch) < 0.5 * MM
    speckle = rng.random(height.shape) > 0.002
    blotches = noise_field(rng, len(height), 1.5 * MM / pitch) < 3.3
    return np.asarray(lit & speckle & blotches)
