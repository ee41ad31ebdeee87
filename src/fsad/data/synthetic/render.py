"""From a scene and its defect to the two images."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fsad.data.synthetic.defects import Defect
from fsad.data.synthetic.parts import Array, smoothstep
from fsad.data.synthetic.scene import DISTANCE, MM, Scene, hidden_by


def render_xyz(scene: Scene, defect: Defect) -> NDArray[np.float32]:
    """Return the organised point cloud, ``(H, W, 3)``, metres; (0, 0, 0) where nothing was seen.

    Laws: ``x / z`` and ``y / z`` are the same in every image of a size; away from ``defect.change``
    the points are those of the good part, bit for bit.
    """
    z = scene.z - defect.change + scene.depth_noise
    xyz = np.concatenate([z[..., None] * scene.rays, z[..., None]], axis=-1)
    return np.where(scene.valid[..., None], xyz, 0).astype(np.float32)


def render_rgb(scene: Scene, defect: Defect) -> NDArray[np.uint8]:
    """Return the colour image, ``(H, W, 3)``: Lambert's law, a highlight and two kinds of shadow.

    Law: a stain changes no pixel outside its mask.
    """
    z, height = scene.z - defect.change, scene.height + defect.change
    opacity = defect.opacity[..., None]
    albedo = scene.albedo * (1 - opacity) + defect.stain * opacity

    normal = _normal(z, scene.pitch / DISTANCE)
    lit = 1 - 0.8 * _soft(hidden_by(height, scene.light, scene.pitch), scene.pitch)
    diffuse = np.clip(normal @ scene.light, 0, None) * lit
    halfway = scene.light + np.array([0, 0, -1])  # towards the camera, which is far above
    gloss = scene.shine * np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, None) ** 24 * lit
    around = ndimage.gaussian_filter(height, 4 * MM / scene.pitch, mode="nearest", truncate=3)
    open_sky = 1 - 0.6 * np.clip((around - height) / (6 * MM), 0, 1)

    grey = scene.exposure * open_sky * (0.25 + 1.0 * diffuse)
    colour = grey[..., None] * albedo + 0.35 * gloss[..., None] + scene.grey_noise
    gamma = np.clip(colour, 0, 1) ** (1 / 1.6)
    return np.asarray(np.rint(255 * gamma), dtype=np.uint8)


def _normal(z: Array, angle: float) -> Array:
    """Return the unit normal towards the camera, ``(H, W, 3)``; a pixel spans ``angle`` radians."""
    down, right = np.gradient(z)
    normal = np.stack([right / (z * angle), down / (z * angle), np.full_like(z, -1)], axis=-1)
    return np.asarray(normal / np.linalg.norm(normal, axis=-1, keepdims=True))


def _soft(hidden: Array, pitch: float) -> Array:
    """Turn depth below the shadow line into a shadow with a soft edge, in [0, 1]."""
    shadow = smoothstep(0, 1.5 * MM, hidden)
    return np.asarray(ndimage.gaussian_filter(shadow, 0.6 * MM / pitch, mode="nearest", truncate=3))
