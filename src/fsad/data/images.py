"""Reading image files; a file that cannot be used is named, never guessed at."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fsad.errors import DataError

if TYPE_CHECKING:  # it brings torch
    from fsad.data.pairs import Sample

# What tifffile logs of a broken file, the error says with the file's name.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False


def read_png(path: Path, what: str, axes: str, *, modes: tuple[str, ...]) -> NDArray[Any]:
    """Read a png of the expected kind.

    Args:
        path: The file.
        what: What it should show, for the message.
        axes: Its shape in words, for the message.
        modes: Pillow's modes that are of this kind.

    Raises:
        DataError: The file is unreadable, truncated or of another kind.
    """
    try:
        with Image.open(path) as image:
            mode, pixels = image.mode, np.asarray(image)
    except Exception as error:  # Pillow's decoders raise many types on a broken file
        raise _unreadable(path, "png", error) from error
    if mode not in modes:
        raise DataError(
            f"{path}: expected {what} {axes}, got {pixels.shape} in mode {mode!r} ({pixels.dtype})"
        )
    return pixels


def read_rgb_png(path: Path) -> NDArray[np.uint8]:
    """Read an 8-bit RGB image, ``(H, W, 3)``."""
    return read_png(path, "an 8-bit RGB image", "(H, W, 3)", modes=("RGB",)).astype(np.uint8)


def read_mask_png(path: Path) -> NDArray[np.bool_]:
    """Read a mask, ``(H, W)``; every value above 0 counts, since some datasets number regions."""
    return np.asarray(read_png(path, "a grey mask", "(H, W)", modes=("L", "1")) > 0)


def read_masks(sample: "Sample") -> NDArray[np.bool_]:
    """Return the union of a sample's masks, ``(H, W)``; all False without any.

    Raises:
        DataError: A file is unreadable or no mask, or the masks' sizes differ.
    """
    if not sample.masks:
        return np.zeros(image_size(sample.depth), dtype=np.bool_)
    masks = [read_mask_png(path) for path in sample.masks]
    for path, mask in zip(sample.masks, masks, strict=True):
        check_size(path, mask.shape, sample.masks[0], masks[0].shape)
    return np.asarray(np.logical_or.reduce(masks))


def check_size(path: Path, shape: tuple[int, ...], other: Path, known: tuple[int, ...]) -> None:
    """Refuse a file whose image has another height or width than ``other``'s.

    Raises:
        DataError: It has.
    """
    if shape[:2] != known[:2]:
        raise DataError(
            f"{path}: expected the size of {other.parent.name}/{other.name}, {known[:2]}, "
            f"got {shape[:2]}"
        )


def read_grey16_png(path: Path) -> NDArray[np.uint16]:
    """Read a 16-bit grey image, ``(H, W)``; older Pillow gives it 32 bits."""
    modes = ("I;16", "I;16B", "I")
    return read_png(path, "a 16-bit grey image", "(H, W)", modes=modes).astype(np.uint16)


def read_xyz_tiff(path: Path) -> NDArray[np.float32]:
    """Read an organised point cloud, ``(H, W, 3)``.

    Raises:
        DataError: The file is unreadable, truncated or of another shape.
    """
    try:
        points = tifffile.imread(path)
    except Exception as error:  # tifffile raises many types on a broken file
        raise _unreadable(path, "tiff", error) from error
    if not points.size:
        raise DataError(
            f"{path}: expected a point cloud (H, W, 3), got a tiff without pixels: it is cut "
            "short. Copy the file again."
        )
    if points.ndim != 3 or points.shape[2] != 3:
        raise DataError(f"{path}: expected a point cloud (H, W, 3), got {points.shape}")
    return np.asarray(points, dtype=np.float32)


def image_size(path: Path) -> tuple[int, int]:
    """Return ``(H, W)`` from the header of a png or tiff.

    Raises:
        DataError: The header cannot be read.
    """
    try:
        if path.suffix == ".tiff":
            with tifffile.TiffFile(path) as file:
                height, width = file.pages[0].shape[:2]
        else:
            with Image.open(path) as image:
                width, height = image.size
    except Exception as error:
        raise _unreadable(path, path.suffix.lstrip("."), error) from error
    return height, width


def _unreadable(path: Path, kind: str, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return DataError(f"{path}: expected a readable {kind}, got '{reason or type(error).__name__}'")
