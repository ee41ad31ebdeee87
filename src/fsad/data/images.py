"""Reading photographs and masks; a file that cannot be used is named, never guessed at."""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from fsad.data.canvas import BESIDE, Canvas, as_canvas
from fsad.errors import DataError
from fsad.storage.regular import refuse_irregular

log = logging.getLogger(__name__)

SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I")  # what Pillow calls grey of 16 bits; older ones: I
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
ORIENTATION = ExifTags.Base.Orientation
SIDEWAYS = (5, 6, 7, 8)  # of Exif's orientations, those that exchange width and height
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_TOLD: set[Path] = set()
"""Folders of which it was said that their images are huge."""
KINDS = "8-bit colour or grey .png, .jpg, .jpeg, .bmp, .tif or .tiff"


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file, its pixels unread; whatever Pillow raises on a broken one names it.

    Pillow warns of an image with very many pixels, and refuses one with twice as many. Line-scan
    cameras make images of the first kind: they are read, and one line says so.

    Raises:
        DataError: The file is no regular one, cannot be read, or has too many pixels.
    """
    refuse_irregular(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # said below
            image = Image.open(path)
        with image:
            _tell_huge(path, image.size)
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{path}: expected at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, got an image "
            "of more. Make it smaller, or cut it into several images."
        ) from error
    except Exception as error:  # of many types
        raise unreadable(path, path.suffix.lower().lstrip(".") or "image", error) from error


def _tell_huge(path: Path, size: tuple[int, int]) -> None:
    """Say that an image has very many pixels; once of each folder."""
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and math.prod(size) > most and path.parent not in _TOLD:
        _TOLD.add(path.parent)
        log.warning(
            "%s: %d x %d pixels, more than %s: it is read all the same, but takes time and memory. "
            "Of further ones in its folder nothing is said",
            path,
            *size,
            f"{most:,}",
        )


@contextmanager
def _loaded(path: Path) -> Iterator[Image.Image]:
    """Open an image file and read its pixels."""
    with opened(path) as image:
        image.load()
        yield image


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a photograph as a person sees it, ``(H, W, 3)``.

    Grey becomes three equal channels, a palette its colours, and what is transparent black. Where
    Exif says how the camera was held, the image is turned upright.

    Raises:
        DataError: The file is unreadable, truncated, or has more than 8 bits a channel.
    """
    with _loaded(path) as image:
        if image.mode not in EIGHT_BITS:
            raise DataError(
                f"{path}: expected an 8-bit colour or grey image (H, W, 3), got {_kind(image)}. "
                "Convert it to 8 bits a channel, RGB or grey."
            )
        upright: Image.Image = ImageOps.exif_transpose(image)  # a camera held sideways notes it
        if upright.has_transparency_data:
            ground = Image.new("RGBA", upright.size, (0, 0, 0, 255))
            upright = Image.alpha_composite(ground, upright.convert("RGBA"))
        return np.asarray(upright.convert("RGB"))


def photograph_size(path: Path) -> tuple[int, int]:
    """Return ``(H, W)`` of a photograph as :func:`read_rgb` gives it, from its header.

    Raises:
        DataError: It cannot be read.
    """
    with opened(path) as image:
        width, height = image.size
        # Of a tiff Pillow gives the upright size already.
        turned = image.format != "TIFF" and image.getexif().get(ORIENTATION) in SIDEWAYS
    return (width, height) if turned else (height, width)


def check_photograph(name: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an array as a photograph, ``(H, W, 3)``; of a grey one, ``(H, W)``, three times.

    Args:
        name: The image, for the message.
        array: In memory, RGB and not BGR.

    Raises:
        DataError: It is of another shape or kind.
    """
    is_grey = array.ndim == 2
    is_colour = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not array.size or not (is_grey or is_colour):
        raise DataError(
            f"{name}: expected colours (H, W, 3) or grey (H, W) of uint8, 0 to 255, got "
            f"{array.shape} of {array.dtype}"
        )
    return np.repeat(array[..., None], 3, axis=2) if is_grey else array


def rgb_pixels(rgb: NDArray[np.uint8], size: int | Canvas) -> NDArray[np.float32]:
    """Resize a photograph to its area of a canvas, bicubic with antialiasing.

    Args:
        rgb: ``(H, W, 3)``.
        size: The canvas; a number S is a square that every photograph fills.

    Returns:
        ``(3, S, S)``, or of the canvas' height and width, float32: in [0, 1] where the photograph
        is, :data:`~fsad.data.canvas.BESIDE` elsewhere.
    """
    canvas = as_canvas(size)
    height, width = canvas.area(*rgb.shape[:2])
    image = Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    if (height, width) == canvas.shape:
        return np.ascontiguousarray(pixels)
    laid = np.full((3, *canvas.shape), BESIDE, np.float32)
    laid[:, :height, :width] = pixels
    return laid


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask, ``(H, W)``: what is not black is marked, in whatever mode it was saved.

    Every value above 0 counts, since some datasets number regions. What is transparent is not
    marked; a mask without any colour is read from its transparency.

    Raises:
        DataError: The file is unreadable or truncated.
    """
    with _loaded(path) as image:
        if image.mode not in EIGHT_BITS:  # 16 bits, or floats
            return np.asarray(np.asarray(image) > 0)
        marked = np.asarray(image.convert("RGB")).any(axis=2)
        if not image.has_transparency_data:
            return np.asarray(marked)
        opaque = np.asarray(image.convert("RGBA"))[..., 3] > 0
        return np.asarray(marked & opaque) if marked.any() else opaque & ~opaque.all()


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
    """Read a 16-bit grey image, ``(H, W)``; older Pillow gives it 32 bits.

    Raises:
        DataError: The file is unreadable, truncated or of another kind.
    """
    with _loaded(path) as image:
        if image.mode not in SIXTEEN_BITS:
            raise DataError(
                f"{path}: expected a 16-bit grey image (H, W), got {_kind(image)}. "
                "A depth png holds the sensor's numbers, not a picture of them."
            )
        return np.asarray(image).astype(np.uint16)


def _kind(image: Image.Image) -> str:
    pixels: NDArray[Any] = np.asarray(image)
    return f"{pixels.shape} in mode {image.mode!r} ({pixels.dtype})"


def unreadable(path: Path, kind: str, error: Exception) -> DataError:
    """Name a file that a library could not read, with what the library said of it."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return DataError(f"{path}: expected a readable {kind}, got '{reason or type(error).__name__}'")
