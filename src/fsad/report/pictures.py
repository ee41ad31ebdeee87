"""Pictures of a test image, small enough to be part of a page."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsad.data.canvas import Canvas
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.data.transforms import load_tensors
from fsad.scores.map_strips import truth_pixels

SIDE = 224  # pixels, at most
QUALITY = 85  # of JPEG


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
    shown = {}
    for modality in sample.files:
        image = seen[modality].clamp(min=0).permute(1, 2, 0).numpy()  # what is beside it is black
        pixels = ((image[..., 0] if modality == "depth" else image) * 255).round().astype(np.uint8)
        shown[modality] = _uri(pixels, "JPEG", quality=QUALITY)
    return shown | {"truth": _uri(truth_pixels(sample, seen["mask"]), "PNG", optimize=True)}


def _uri(pixels: NDArray[np.uint8], kind: str, **options: int) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
