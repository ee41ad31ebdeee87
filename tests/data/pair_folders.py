"""Writes tiny datasets in the layouts of MVTec 3D-AD and Eyecandies."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile
import yaml
from PIL import Image

SHAPE = (40, 56)
PART = (slice(12, 28), slice(16, 40))  # where a part stands on the ground
DEFECT = (slice(16, 20), slice(20, 28))  # where it is dented
KINDS = ("bumps", "dents", "colors", "normals")


def rgb_of(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A dark table with a bright part; the seed tells images apart."""
    rgb = np.random.default_rng(seed).integers(0, 40, (*shape, 3), dtype=np.uint8)
    rgb[PART] += 180
    return rgb


def depth_of(seed: int, defective: bool = False, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A tilted ground plane seen by a perspective camera, with a box on it."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    inverse = 1.5 + 0.1 * rows / shape[0] + 0.05 * columns / shape[1] + 0.001 * seed
    z = 1 / inverse
    z[PART] -= 0.05
    if defective:
        z[DEFECT] += 0.02
    return z.astype(np.float32)


def mask_of(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[DEFECT] = 255
    return mask


def save_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def save_xyz(path: Path, z: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    xyz = np.stack([np.zeros_like(z), np.zeros_like(z), z], axis=-1)
    tifffile.imwrite(path, xyz, photometric="rgb")


def write_mvtec3d(
    root: Path,
    category: str = "bolt",
    train: int = 6,
    test: Mapping[str, int] | None = None,
    prepared: bool = False,
) -> Path:
    """Write a category; returns its folder."""
    splits = {
        "train": {"good": train},
        "validation": {"good": 1},
        "test": test or {"good": 2, "cut": 1, "dent": 2},
    }
    seed = 0
    for split, kinds in splits.items():
        for kind, count in kinds.items():
            for index in range(count):
                seed += 1
                folder, stem = root / category / split / kind, f"{index:03d}"
                z = depth_of(seed, kind != "good")
                if prepared:
                    part = np.zeros(SHAPE, dtype=np.uint8)
                    part[PART] = 255
                    z[part == 0] = 0
                    save_png(folder / "part" / f"{stem}.png", part)
                save_png(folder / "rgb" / f"{stem}.png", rgb_of(seed))
                save_xyz(folder / "xyz" / f"{stem}.tiff", z)
                if kind != "good":
                    save_png(folder / "gt" / f"{stem}.png", mask_of())
    return root / category


def write_frame(folder: Path, stem: str, defects: tuple[str, ...] = (), light: int = 4) -> None:
    """Write one Eyecandies frame, its depth spread over the 16 bits."""
    seed = int(stem)
    z = depth_of(seed, bool(defects)).astype(np.float64)
    low, high = z.min(), z.max()
    save_png(folder / f"{stem}_image_{light}.png", rgb_of(seed))
    save_png(
        folder / f"{stem}_depth.png", np.round((z - low) / (high - low) * 65535).astype(np.uint16)
    )
    for name in ("mask", *(f"{kind}_mask" for kind in KINDS)):
        marked = name == "mask" or name.removesuffix("_mask") in defects
        save_png(folder / f"{stem}_{name}.png", mask_of() * np.uint8(marked and bool(defects)))
    flags = {f"anomalous_{kind}": int(kind in defects) for kind in KINDS}
    write_yaml(folder / f"{stem}_metadata.yaml", {"anomalous": int(bool(defects)), **flags})
    bounds = {"min": float(low), "max": float(high)}
    write_yaml(folder / f"{stem}_info_depth.yaml", {"normalization": bounds})


def write_yaml(path: Path, content: object) -> None:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def write_eyecandies(root: Path, category: str = "Candy") -> Path:
    """Write a category; returns its folder."""
    folder = root / category
    for index in range(3):
        write_frame(folder / "train" / "data", f"{index:03d}")
    write_frame(folder / "val" / "data", "000")
    for stem, defects in {
        "00": (),
        "01": ("dents",),
        "02": ("bumps", "colors"),
        "03": ("normals",),
    }.items():
        write_frame(folder / "test_public" / "data", stem, defects)
    return folder
