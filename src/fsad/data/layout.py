"""Which layout a folder has, and which class reads it."""

import inspect
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from fsad.data.depth_rules import DepthRules
from fsad.data.eyecandies import Eyecandies
from fsad.data.mvtec3d import MVTec3D
from fsad.data.photographs.btad import BTAD
from fsad.data.photographs.cameras import Cameras
from fsad.data.photographs.elpv import ELPV
from fsad.data.photographs.image_folder import ImageFolder
from fsad.data.photographs.kolektorsdd import KolektorSDD
from fsad.data.photographs.mpdd import MPDD
from fsad.data.photographs.mvtec_ad import MVTecAD
from fsad.data.photographs.visa import VisA
from fsad.data.reader import FolderReader
from fsad.errors import ConfigError, DataError, MissingDataError

READERS = (Eyecandies, VisA, BTAD, KolektorSDD, ELPV, Cameras, ImageFolder, MVTecAD, MPDD, MVTec3D)
LAYOUTS: dict[str, type[FolderReader]] = {reader.layout: reader for reader in READERS}
"""The layouts that ``fsad data`` tells apart by looking, by name; the first that fits is taken.

MVTec AD and MPDD look like images of one's own, and are read alike."""
EXPECTED = (
    "<category>/train/good/*.png (image_folder), <category>/train/good/{rgb,xyz} (mvtec3d) or "
    "<category>/train/data/*_depth.png (eyecandies)"
)


LAID_OUT = (
    "Name the folder above the categories. In each, train/good/rgb/000.png and "
    "train/good/xyz/000.tiff belong together, and so in test/good and test/<defect>, where "
    "gt/000.png marks the defect; see docs/your-data.md."
)


def find_format(root: Path, asked: str = "auto", cameras: Sequence[str] = ()) -> str:
    """Return the layout of a dataset.

    Args:
        root: The folder that holds the categories.
        asked: One of :data:`LAYOUTS` to trust the caller, ``auto`` to look.
        cameras: The user's, if any: one layout alone has some.

    Raises:
        ConfigError: ``asked`` is none of these, or has no cameras.
        MissingDataError: There is no such folder.
        DataError: The folder has no known layout, or is itself a category.
    """
    if asked not in ("auto", *LAYOUTS):
        raise ConfigError(f"--format: expected one of auto, {', '.join(LAYOUTS)}, got {asked!r}")
    if not root.is_dir():
        raise MissingDataError(f"{root}: expected the dataset's folder, got no such folder")
    if cameras and asked not in ("auto", Cameras.layout):
        raise ConfigError(
            f"--camera: expected none with --format {asked}, got {', '.join(cameras)}. "
            f"Leave it out, or say --format {Cameras.layout}."
        )
    if cameras or asked != "auto":
        return Cameras.layout if cameras else asked
    for name, reader in LAYOUTS.items():
        if reader.recognises(root):
            return name
    marks = [Path(reader.split_folders["train"], reader.mark) for reader in LAYOUTS.values()]
    if any((root / mark).is_dir() for mark in marks if len(mark.parts) > 1):
        raise DataError(
            f"{root}: expected the folder that holds the categories, got a category. "
            f"Give its parent folder, '{root.resolve().parent}'."
        )
    raise DataError(f"{root}: expected {EXPECTED}, got neither. {LAID_OUT}")


def open_reader(
    root: Path,
    layout: str,
    rules: DepthRules | None = None,
    light: int = 4,
    cameras: Sequence[str] = (),
) -> FolderReader:
    """Return the reader of a dataset whose layout is known.

    Args:
        root: The folder that holds the categories.
        layout: What :func:`find_format` found.
        rules: How depth files are read.
        light: Which of several renderings is the photograph, where the layout has several.
        cameras: The cameras' folders, where the layout has some; its own if empty.

    Raises:
        ConfigError: ``light``, ``rules`` or ``cameras`` do not go with the layout.
    """
    return LAYOUTS[layout].open(root, rules, light, cameras)


def reader_class(target: str) -> type[FolderReader] | None:
    """Return the reader that a run's settings name; None if it is none of this package's.

    Only modules of ``fsad.data`` are imported: no file from elsewhere chooses the code that runs.

    Args:
        target: A class's dotted name, such as ``fsad.data.mvtec3d.MVTec3D``.
    """
    module, _, name = target.rpartition(".")
    package = __name__.rpartition(".")[0]
    if not module.startswith(f"{package}."):
        return None
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return None
    is_reader = isinstance(found, type) and issubclass(found, FolderReader)
    return found if is_reader and not inspect.isabstract(found) else None
