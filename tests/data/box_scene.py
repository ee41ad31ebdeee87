"""A box on a tilted table before a pinhole camera, and small datasets made of it."""

import hashlib

import numpy as np
import tifffile
from PIL import Image

SIZE = 96
FOCAL = 50 / 36 * SIZE  # pixels; Eyecandies' camera at this size
NORMAL = np.array([0.15, -0.3, -1]) / np.linalg.norm([0.15, -0.3, -1])  # towards the camera


def box_points(seed=0, height=0.03, noise=0.0, depth=0.6):
    """Return complete organised points (H, W, 3) and the box's mask (H, W)."""
    rng = np.random.default_rng(seed)
    axis = (np.arange(SIZE) - (SIZE - 1) / 2) / FOCAL
    x, y = np.meshgrid(axis, axis)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1)
    top, left = rng.integers(20, 30, 2)
    box = np.zeros((SIZE, SIZE), bool)
    box[top : top + 40, left : left + 30] = True
    z = (depth * NORMAL[2] + height * box) / (rays @ NORMAL)
    z = z + noise * rng.standard_normal(z.shape)
    return (z[..., None] * rays).astype(np.float32), box


def lose(xyz, share=0.1, seed=0):
    """Return the points with some of them unmeasured, and where."""
    lost = np.random.default_rng(seed).random(xyz.shape[:2]) < share
    return np.where(lost[..., None], np.float32(0), xyz), lost


def save_png(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def rgb_of(box, seed=0):
    noise = np.random.default_rng(seed).integers(0, 40, (SIZE, SIZE, 3))
    return (noise + 150 * box[..., None]).astype(np.uint8)


def dent_in(box):
    dent = np.zeros_like(box)
    row, column = np.argwhere(box).mean(axis=0).astype(int)
    dent[row - 3 : row + 3, column - 3 : column + 3] = True
    return dent


def write_mvtec3d(root, category="box", counts=(2, 1, 1, 2)):
    """Write a category in MVTec 3D-AD's layout: train, validation, test/good, test/dent."""
    folders = ("train/good", "validation/good", "test/good", "test/dent")
    for place, (folder, count) in enumerate(zip(folders, counts, strict=True)):
        for index in range(count):
            seed = 100 * place + index
            whole, box = box_points(seed, noise=1e-4)
            xyz, _ = lose(whole, seed=seed)
            here = root / category / folder
            save_png(here / "rgb" / f"{index:03d}.png", rgb_of(box, seed))
            (here / "xyz").mkdir(exist_ok=True)
            tifffile.imwrite(here / "xyz" / f"{index:03d}.tiff", xyz, photometric="rgb")
            if folder.startswith("test"):
                dent = dent_in(box) & (folder == "test/dent")
                save_png(here / "gt" / f"{index:03d}.png", dent.astype(np.uint8) * 255)
    return root


def write_eyecandies(root, category="BoxCandy", counts=(2, 1, 2)):
    """Write a category as Eyecandies distributes it; the last public test frame has bumps."""
    for split, digits, count in zip(
        ("train", "val", "test_public"), (3, 3, 2), counts, strict=True
    ):
        folder = root / category / split / "data"
        folder.mkdir(parents=True)
        for index in range(count):
            stem = f"{index:0{digits}d}"
            xyz, box = box_points(index, height=0.15, depth=3.0)
            z = xyz[..., 2].astype(np.float64)
            low, high = z.min(), z.max()
            code = np.rint((z - low) / (high - low) * 65535).astype(np.uint16)
            save_png(folder / f"{stem}_depth.png", code)
            (folder / f"{stem}_info_depth.yaml").write_text(
                f"normalization:\n  max: {high}\n  min: {low}\n"
            )
            for light in (4, 5):
                save_png(folder / f"{stem}_image_{light}.png", rgb_of(box, light))
            bad = split == "test_public" and index == count - 1
            dent = (dent_in(box) & bad).astype(np.uint8) * 255
            for kind in ("", "bumps_", "colors_", "dents_", "normals_"):
                shown = dent if kind in ("", "bumps_") else 0 * dent
                save_png(folder / f"{stem}_{kind}mask.png", shown)
            (folder / f"{stem}_metadata.yaml").write_text(
                f"anomalous: {int(bad)}\nanomalous_bumps: {int(bad)}\nanomalous_dents: 0\n"
                "anomalous_colors: 0\nanomalous_normals: 0\n"
            )
    return root


def content(root):
    """Return every file's hash by relative path."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
