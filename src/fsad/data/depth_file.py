"""Depth as sensors store it: tiff, 16-bit png or npy, a map of depths or organised points."""

import io
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fsad.data.images import opened, read_grey16_png, unreadable
from fsad.errors import DataError
from fsad.storage.regular import refuse_irregular

TIFF = (".tiff", ".tif")
SUFFIXES = (*TIFF, ".png", ".npy")
KINDS = "xyz .tiff (H, W, 3), depth .tiff (H, W), 16-bit depth .png, or .npy with either"
SHAPES = "depth (H, W) or points (H, W, 3)"
MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)
"""Pixels from which on Pillow refuses a png, 179 million; a tiff may claim no more."""

# What tifffile logs of a broken file, the error says with the file's name.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False


def read_depth_file(path: Path) -> NDArray[Any]:
    """Read a depth file as it is stored; code in a file is never run.

    Args:
        path: A tiff, a 16-bit png or an npy file, whatever the case of its suffix.

    Returns:
        Depth, ``(H, W)``, or points, ``(H, W, 3)``, in the file's own numbers.

    Raises:
        DataError: It is no regular file, cannot be read, is of another kind, or claims more pixels
            than a png may.
    """
    refuse_irregular(path)
    suffix = path.suffix.lower()
    if suffix in TIFF:
        return _read_tiff(path)
    if suffix == ".png":
        return read_grey16_png(path)
    if suffix == ".npy":
        return _read_npy(path)
    raise DataError(f"{path}: expected {KINDS}, got {suffix or 'no suffix'}")


def read_size(path: Path) -> tuple[int, int]:
    """Return ``(H, W)`` of a depth file from its header.

    Raises:
        DataError: The header cannot be read, or is of another kind.
    """
    refuse_irregular(path)
    suffix = path.suffix.lower()
    if suffix in TIFF:
        with _opened_tiff(path) as series:
            height, width = _image_shape(series.shape)[:2]
    elif suffix == ".npy":
        height, width = _read_npy(path).shape[:2]
    else:
        with opened(path) as image:
            width, height = image.size
    return height, width


def check_kind(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse numbers that are neither depth nor points.

    Args:
        name: The file, for the message.
        shape: Of the numbers.
        dtype: Of the numbers.

    Raises:
        DataError: They are of another shape or kind.
    """
    is_depth = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    if not is_depth or not math.prod(shape) or dtype.kind not in "fiu":
        raise DataError(f"{name}: expected {SHAPES} of numbers, got {shape} of {dtype}")


def _read_tiff(path: Path) -> NDArray[Any]:
    with _opened_tiff(path) as series:
        shape = _image_shape(series.shape)
        if math.prod(shape[:2]) > MOST_PIXELS:
            raise DataError(
                f"{path}: expected at most {MOST_PIXELS:,} pixels, got a tiff that claims "
                f"{series.shape}. Copy the file again."
            )
        _check_file(path, shape, series.dtype)
        try:
            values = series.asarray()
        except Exception as error:  # tifffile raises many types on a broken file
            raise unreadable(path, "tiff", error) from error
    # Planes one after the other are the same points.
    return np.asarray(values if values.shape == shape else np.moveaxis(values, 0, -1))


def _image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape with the channels last; of ``(3, H, W)`` they come first."""
    if len(shape) == 3 and shape[0] == 3 and shape[2] != 3:
        return (*shape[1:], shape[0])
    return shape


@contextmanager
def _opened_tiff(path: Path) -> Iterator[tifffile.TiffPageSeries]:
    """Open a tiff's first series: with some settings of tifffile, a page is only a row of it."""
    try:
        file = tifffile.TiffFile(path)
    except Exception as error:
        raise unreadable(path, "tiff", error) from error
    with file:
        try:
            series = file.series[0] if file.series else None
        except Exception as error:
            raise unreadable(path, "tiff", error) from error
        if series is None or not series.size:
            raise DataError(
                f"{path}: expected {SHAPES}, got a tiff without pixels: it is cut short. "
                "Copy the file again."
            )
        yield series


def _read_npy(path: Path) -> NDArray[Any]:
    values = _loaded(path)
    _check_file(path, values.shape, values.dtype)
    return values


def _loaded(path: Path) -> NDArray[Any]:
    try:
        # From bytes that are there: whoever cuts the file short meanwhile cannot pull them away.
        return np.asarray(np.load(io.BytesIO(path.read_bytes()), allow_pickle=False))
    except Exception as error:  # a damaged or crafted file can raise anything
        raise DataError(
            f"{path}: expected a .npy file of numbers, got '{' '.join(str(error).split())}'"
        ) from error


def _check_file(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any] | None) -> None:
    kind = np.dtype(dtype)
    check_kind(str(path), shape, kind)
    if kind.itemsize == 1:
        raise DataError(
            f"{path}: expected {SHAPES}, got {shape} of {kind}: 8 bits are a photograph's. "
            "Name the file that holds the sensor's numbers."
        )
