"""Which dataset layout a folder has."""

from pathlib import Path

from fsad.data.depth_rules import DepthRules
from fsad.data.eyecandies import Eyecandies
from fsad.data.mvtec3d import MVTec3D
from fsad.data.pairs import PairReader
from fsad.errors import ConfigError, DataError, MissingDataError

FORMATS = {"mvtec3d": "train/good", "eyecandies": "train/data"}  # what marks a layout
EXPECTED = (
    "<category>/train/good/{rgb,xyz} (mvtec3d) or <category>/train/data/*_depth.png (eyecandies)"
)


LAID_OUT = (
    "Name the folder above the categories. In each, train/good/rgb/000.png and "
    "train/good/xyz/000.tiff belong together, and so in test/good and test/<defect>, where "
    "gt/000.png marks the defect; see docs/your-data.md."
)


def find_format(root: Path, asked: str = "auto") -> str:
    """Return the layout of a dataset.

    Args:
        root: The folder that holds the categories.
        asked: ``mvtec3d`` or ``eyecandies`` to trust the caller, ``auto`` to look.

    Raises:
        ConfigError: ``asked`` is none of these.
        MissingDataError: There is no such folder.
        DataError: The folder has no known layout, or is itself a category.
    """
    if asked not in ("auto", *FORMATS):
        raise ConfigError(f"--format: expected one of auto, {', '.join(FORMATS)}, got {asked!r}")
    if not root.is_dir():
        raise MissingDataError(f"{root}: expected the dataset's folder, got no such folder")
    if asked != "auto":
        return asked
    for name, mark in FORMATS.items():
        if any(root.glob(f"*/{mark}")):
            return name
    if any((root / mark).is_dir() for mark in FORMATS.values()):
        raise DataError(
            f"{root}: expected the folder that holds the categories, got a category. "
            f"Give its parent folder, '{root.resolve().parent}'."
        )
    raise DataError(f"{root}: expected {EXPECTED}, got neither. {LAID_OUT}")


def open_reader(
    root: Path, layout: str, rules: DepthRules | None = None, light: int = 4
) -> PairReader:
    """Return the reader of a dataset whose layout is known.

    Args:
        root: The folder that holds the categories.
        layout: What :func:`find_format` found.
        rules: How depth files are read.
        light: Which of Eyecandies' renderings is the RGB image.

    Raises:
        ConfigError: ``light`` or ``rules`` do not go with the layout.
    """
    return MVTec3D(root, rules) if layout == "mvtec3d" else Eyecandies(root, rules, light=light)
