"""Pictures of a test image, small enough to be part of a page."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.data.transforms import load_tensors
from fsad.scores.map_strips import truth_pixels

SIDE = 224  # pixels, at most
QUALITY = 85  # of JPEG


def pictures(reader: DatasetReader, sample: Sample, size: int) -> dict[str, str]:
    """Return RGB, depth and ground truth of a sample as data URIs, as the method sees them.

    Args:
        reader: The data set.
        sample: Which sample.
        size: Height and width of the run's images, pixels; pictures are at most ``SIDE``.

    Returns:
        By name: ``rgb``, ``depth``, ``truth``; together about 15 kB. The truth is grey where it is
        not known.

    Raises:
        DataError: A file cannot be used.
    """
    seen = load_tensors(reader, sample, min(size, SIDE), ("rgb", "depth", "mask"))
    rgb = (seen["rgb"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    depth = (seen["depth"][0].numpy() * 255).round().astype(np.uint8)
    return {
        "rgb": _uri(rgb, "JPEG", quality=QUALITY),
        "depth": _uri(depth, "JPEG", quality=QUALITY),
        "truth": _uri(truth_pixels(sample, seen["mask"]), "PNG", optimize=True),
    }


def _uri(pixels: NDArray[np.uint8], kind: str, **options: int) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
