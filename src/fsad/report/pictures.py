"""Pictures of a test image, small enough to be part of a page."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from fsad.data.canvas import Canvas
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.data.transforms import load_tensors
from fsad.scores.map_strips import truth_pixels

SIDE = 224  # pixels, at most
QUALITY = 85  # of JPEG
FRAME = (255, 204, 0)

Box = tuple[float, float, float, float]


def pictures(reader: DatasetReader, sample: Sample, canvas: Canvas) -> dict[str, str]:
    """Return the modalities and the ground truth of a sample as data URIs, as methods see them.

    Args:
        reader: The data set.
        sample: Which sample.
        canvas: What the run's images were brought to; square pictures are at most ``SIDE``.

    Returns:
        By name: each modality, such as ``rgb``, and ``truth``; together about 15 kB. The truth is
        grey where it is not known.

    Raises:
        DataError: A file cannot be used.
    """
    if canvas.aspect is None:
        canvas = Canvas.square(min(canvas.height, SIDE))
    seen = load_tensors(reader, sample, canvas, (*sample.files, "mask"))
    shown = {
        modality: _uri(_pixels(seen[modality], modality), "JPEG", quality=QUALITY)
        for modality in sample.files
    }
    return shown | {"truth": _uri(truth_pixels(sample, seen["mask"]), "PNG", optimize=True)}


def pixels_of(
    reader: DatasetReader, sample: Sample, modality: str, canvas: Canvas
) -> NDArray[np.uint8]:
    """Return an image as methods see it.

    Args:
        reader: The data set.
        sample: Which sample.
        modality: In which modality.
        canvas: What it is brought to.

    Returns:
        ``(H, W, 3)``, or ``(H, W)`` of depth.

    Raises:
        DataError: The file cannot be used.
    """
    return _pixels(load_tensors(reader, sample, canvas, [modality])[modality], modality)


def excerpt(pixels: NDArray[np.uint8], box: Box, around: float, side: int) -> str:
    """Return a part of an image in a frame, with what is around it, as a data URI.

    Args:
        pixels: As :func:`pixels_of` returns them.
        box: The part: left, top, right and bottom, as shares of the image's width and height.
        around: What is shown on each side of it, in its own widths and heights; black where the
            image ends.
        side: Of the picture, pixels.
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = (share * (width, height)[at % 2] for at, share in enumerate(box))
    wide, high = around * (right - left), around * (bottom - top)
    shown = (round(left - wide), round(top - high), round(right + wide), round(bottom + high))
    picture = Image.fromarray(pixels).convert("RGB").crop(shown).resize((side, side))
    edge = side * around / (1 + 2 * around)
    ImageDraw.Draw(picture).rectangle((edge, edge, side - edge, side - edge), outline=FRAME)
    return _uri(np.asarray(picture), "JPEG", quality=QUALITY)


def _pixels(image: Tensor, modality: str) -> NDArray[np.uint8]:
    shown = image.clamp(min=0).permute(1, 2, 0).numpy()  # what is beside it is black
    plane = shown[..., 0] if modality == "depth" else shown
    return np.asarray((plane * 255).round(), dtype=np.uint8)


def _uri(pixels: NDArray[np.uint8], kind: str, **options: int) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
