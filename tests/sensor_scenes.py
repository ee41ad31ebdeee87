"""A disc on a plane before a depth camera, dented in the defective images, in MVTec 3D-AD's layout.

What a sensor or a person makes of such files is up to each test: :func:`rewrite` changes them all.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

SIZE = 96
WORDS = (
    "data=mvtec3d",
    "backbone=tiny",
    "method=patchcore",
    "data.category=part",
    "data.shots=2",
    "data.image_size=112",
    "report=false",
    "cache=none",
)
"""The common call on such a data set, but for its root."""


def scene(rng: np.random.Generator, dented: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return RGB (H, W, 3), points (H, W, 3) in metres, and the dent's mask (H, W)."""
    rows, columns = np.indices((SIZE, SIZE)).astype(np.float32)
    disc = np.hypot(columns - SIZE / 2, rows - SIZE / 2) < 0.35 * SIZE
    z = 0.5 + 1e-4 * rows - 0.02 * disc + rng.normal(0, 2e-4, (SIZE, SIZE))
    rgb = np.where(disc[..., None], [150, 120, 90], [40, 42, 45])
    rgb = rgb + rng.normal(0, 4, (SIZE, SIZE, 3))
    mask = np.zeros((SIZE, SIZE), bool)
    if dented:
        row, column = SIZE / 2 + rng.uniform(-0.2, 0.2, 2) * SIZE
        mask = np.hypot(columns - column, rows - row) < 0.06 * SIZE
        z = z + 0.01 * mask
        rgb = rgb - 30 * mask[..., None]
    points = np.stack([(columns - SIZE / 2) * z / 100, (rows - SIZE / 2) * z / 100, z], axis=-1)
    return rgb.clip(0, 255).astype(np.uint8), points.astype(np.float32), mask


def write(root: Path, train: int = 4, good: int = 3, dented: int = 3, seed: int = 0) -> Path:
    """Write a category ``part``; returns the data set's root."""
    rng = np.random.default_rng(seed)
    for place, count in (("train/good", train), ("test/good", good), ("test/dent", dented)):
        for index in range(count):
            folder, stem = root / "part" / place, f"{index:03d}"
            rgb, points, mask = scene(rng, place == "test/dent")
            for kind in ("rgb", "xyz") + (("gt",) if mask.any() else ()):
                (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(rgb).save(folder / "rgb" / f"{stem}.png")
            tifffile.imwrite(folder / "xyz" / f"{stem}.tiff", points, photometric="rgb")
            if mask.any():
                Image.fromarray(mask).save(folder / "gt" / f"{stem}.png")
    return root


def clouds(root: Path) -> Iterator[Path]:
    """Yield every file of points."""
    yield from sorted(root.rglob("*.tiff"))


def rewrite(root: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the points of every file."""
    for path in clouds(root):
        tifffile.imwrite(path, change(tifffile.imread(path)).astype(np.float32), photometric="rgb")
