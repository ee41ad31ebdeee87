"""The defects: four that change the height of the surface and one that changes only its colour."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fsad.data.synthetic.parts import Array, smoothstep
from fsad.data.synthetic.scene import MM, Scene

DEPTH_DEFECTS = ("bump", "dent", "hole", "cut")
DEFECTS = (*DEPTH_DEFECTS, "stain")
THRESHOLD = 0.1 * MM  # a smaller change of height drowns in the sensor's noise and is left out
OPAQUE = 0.15  # a fainter trace of a stain is left out


@dataclass(frozen=True)
class Defect:
    """What is wrong with a surface, pixel by pixel.

    Law: ``mask`` is true exactly where ``change`` or ``opacity`` is not zero.

    Attributes:
        change: Height added, ``(H, W)``, metres; either 0 or more than ``THRESHOLD`` in size.
        opacity: Share of the surface's colour that the stain hides, ``(H, W)``, in [0, 1].
        stain: The stain's colour, ``(3,)``.
    """

    change: Array
    opacity: Array
    stain: Array

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Ground truth, ``(H, W)``."""
        return np.asarray((self.change != 0) | (self.opacity != 0))


def no_defect(size: int) -> Defect:
    """Return what is wrong with a good part: nothing."""
    return Defect(np.zeros((size, size)), np.zeros((size, size)), np.zeros(3))


def draw_defect(kind: str, scene: Scene, rng: np.random.Generator) -> Defect:
    """Damage the part somewhere on its surface.

    Bumps and dents are 2 to 5 mm high, holes 3 to 6 mm, cuts 1.5 to 3.5 mm, but never deeper than
    the table. Blotches measure 9 to 17 mm, cuts 16 to 30 mm by 2 to 4 mm, on parts of 60 to 80 mm.

    Args:
        kind: One of ``DEFECTS``.
        scene: The good part.
        rng: Source of chance; apart from the scene's, so that the good image stays what it was.
    """
    good = no_defect(len(scene.z))
    if kind == "cut":
        centre = _place(scene, 2.5 * MM, rng)
        depth, shape = rng.uniform(1.5, 3.5) * MM, _cut(scene, centre, rng)
        return Defect(_carve(-depth * shape, scene), good.opacity, good.stain)

    radius = rng.uniform(4.5, 8.5) * MM
    inside = _blotch(
        scene, _place(scene, radius, rng), radius, rng
    )  # 1 at the centre, 0 at the rim
    if kind == "stain":
        opacity = rng.uniform(0.6, 0.85) * smoothstep(0, 0.35, inside)
        on_part = scene.height > 1 * MM
        stain = np.array([[0.10, 0.07, 0.05], [0.75, 0.72, 0.20], [0.15, 0.30, 0.60]])[
            rng.integers(3)
        ]
        return Defect(good.change, np.where(on_part & (opacity > OPAQUE), opacity, 0), stain)
    if kind == "hole":
        change = -rng.uniform(3, 6) * MM * smoothstep(0, 0.35, inside)
    else:
        sign = {"bump": 1, "dent": -1}[kind]
        change = sign * rng.uniform(2, 5) * MM * smoothstep(0, 1, inside)
    return Defect(_carve(change, scene), good.opacity, good.stain)


def _carve(change: Array, scene: Scene) -> Array:
    """Keep a change on the part and above the table, and drop what is too small to be seen."""
    change = np.maximum(change * smoothstep(0, 2 * MM, scene.height), -scene.height)
    return np.where(np.abs(change) > THRESHOLD, change, 0)


def _place(scene: Scene, radius: float, rng: np.random.Generator) -> Array:
    """Choose a point of the part with room around it, ``(2,)`` metres on the table."""
    room = ndimage.distance_transform_edt(scene.height > 2 * MM) * scene.pitch
    spots = np.flatnonzero(scene.valid & (room >= 0.7 * min(radius, room[scene.valid].max())))
    return np.asarray(_ground(scene).reshape(-1, 2)[rng.choice(spots)])


def _ground(scene: Scene) -> Array:
    """Coordinates of each surface point along the table, ``(H, W, 2)``, metres."""
    return scene.z[..., None] * scene.rays


def _blotch(scene: Scene, centre: Array, radius: float, rng: np.random.Generator) -> Array:
    """Return a round, uneven patch: 1 at its centre, falling to 0 at its rim, ``(H, W)``."""
    x, y = np.moveaxis(_ground(scene) - centre, -1, 0)
    angle = np.arctan2(y, x)
    rim = np.full_like(x, radius)
    for waves in (2, 3, 5):
        uneven = rng.uniform(0, 0.4 / waves)
        rim *= 1 + uneven * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.clip(1 - np.hypot(x, y) / rim, 0, 1))


def _cut(scene: Scene, centre: Array, rng: np.random.Generator) -> Array:
    """Return a slightly bent notch: 1 along its middle, 0 from its edge on, ``(H, W)``."""
    angle = rng.uniform(0, 2 * np.pi)
    length, width = rng.uniform(16, 30) * MM, rng.uniform(2, 4) * MM
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    along, across = np.moveaxis((_ground(scene) - centre) @ turn, -1, 0)
    bend = rng.uniform(-0.3, 0.3) * along**2 / length
    taper = smoothstep(0.5, 0.3, np.abs(along) / length)
    return taper * smoothstep(0.5, 0.1, np.abs(across - bend) / width)
