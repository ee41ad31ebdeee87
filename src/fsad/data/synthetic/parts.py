"""The parts: height fields in millimetres, their colours and how they may lie on the table.

A part is ``height(u, v)``: millimetres above the table at ``(u, v)`` millimetres from its centre,
zero beside the part. Slopes stay below 4, so that a camera above sees every point of the surface.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """A category: its shape and its look.

    Attributes:
        height: Height above the table, from coordinates of the part; all in millimetres.
        turn: Largest rotation in the plane to either side, in degrees; 180 is any.
        colour: Albedo, RGB in [0, 1].
        grain: Which way the texture runs: around the centre, along one axis, or nowhere.
        contrast: Standard deviation of the texture, as a share of the albedo.
        shine: Strength of the highlight, in [0, 1].
    """

    height: Callable[[Array, Array], Array]
    turn: float
    colour: Colour
    grain: Literal["turned", "brushed", "speckled"]
    contrast: float
    shine: float


def smoothstep(low: float, high: float, value: Array) -> Array:
    """Rise from 0 at ``low`` to 1 at ``high`` with level ends; falls if ``low > high``."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def gasket(u: Array, v: Array) -> Array:
    """Return a sealing ring with two grooves, three ears and a bolt hole in each."""
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    ring = smoothstep(33, 28.5, r) * smoothstep(15, 19.5, r)
    grooves = np.exp(-(((r - 21.5) / 1.1) ** 2)) + np.exp(-(((r - 26.5) / 1.1) ** 2))
    # Folding the angle lays the three ears, 120 degrees apart, on top of each other.
    folded = np.mod(angle + np.pi / 3, 2 * np.pi / 3) - np.pi / 3
    to_ear = np.hypot(r * np.cos(folded) - 32, r * np.sin(folded))
    ear = smoothstep(9.5, 6.5, to_ear)
    body = np.maximum(6 * ring - 1.3 * ring * grooves, 4 * ear)
    return np.asarray(body * smoothstep(1.5, 4.8, to_ear))


def knob(u: Array, v: Array) -> Array:
    """Return a rotary knob: a ridged dome with a level top and a raised pointer."""
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    skirt = 2.5 * smoothstep(34, 31, r)
    dome = 13 * smoothstep(30, 18, r) + 0.06 * np.maximum(18 - r, 0)
    ridges = 1.1 * np.cos(18 * angle) * smoothstep(29, 25, r) * smoothstep(17, 20, r)
    pointer = 1.6 * smoothstep(2.6, 1.2, np.abs(v)) * smoothstep(2, 4, u) * smoothstep(17, 14, u)
    return np.asarray(skirt + dome + ridges + pointer)


def tile(u: Array, v: Array) -> Array:
    """Return a plate with round corners, a raised frame and a waffle of square dimples."""
    corner = 7.0
    outside = np.hypot(
        np.maximum(np.abs(u) - 31 + corner, 0), np.maximum(np.abs(v) - 31 + corner, 0)
    )
    inset = corner - outside  # distance from the rim, cut off at the corner radius
    plate = 5 * smoothstep(0, 3, inset)
    inner = np.maximum(np.abs(u), np.abs(v))
    waffle = np.cos(2 * np.pi * u / 11) * np.cos(2 * np.pi * v / 11)
    pattern = 0.9 * smoothstep(-0.5, 0.5, waffle) - 1.2
    return np.asarray(plate + smoothstep(27, 25.5, inner) * pattern)


def bolt(u: Array, v: Array) -> Array:
    """Return a hexagon head with a chamfer and a round recess, on a washer."""
    r = np.hypot(u, v)
    thirds = np.deg2rad([0.0, 60.0, 120.0])
    flats = np.max([np.abs(u * np.cos(a) + v * np.sin(a)) for a in thirds], axis=0)
    washer = 3 * smoothstep(35, 32.5, r)
    chamfer = 0.3 * np.maximum(r - 18, 0) * smoothstep(22, 19, flats)
    head = 9 * smoothstep(22.5, 17.5, flats) - chamfer
    recess = 2.2 * smoothstep(11, 8.5, r) - 1.0 * smoothstep(4.5, 2.5, r)
    return np.asarray(washer + head - recess)


PARTS = {
    "bolt": Part(bolt, 180, (0.50, 0.51, 0.54), "turned", 0.10, 0.45),
    "gasket": Part(gasket, 180, (0.62, 0.27, 0.16), "speckled", 0.07, 0.15),
    "knob": Part(knob, 15, (0.13, 0.16, 0.22), "speckled", 0.06, 0.35),
    "tile": Part(tile, 15, (0.72, 0.62, 0.44), "brushed", 0.12, 0.10),
}
