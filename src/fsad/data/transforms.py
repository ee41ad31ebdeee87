"""From a sample's files to tensors of one size, all modalities together."""

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsad.data.canvas import Canvas, as_canvas
from fsad.data.depth import depth_image
from fsad.data.images import check_size, photograph_size, rgb_pixels
from fsad.data.oddities import oddities
from fsad.data.part import part_mask
from fsad.data.profile import InputProfile
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.data.shrink import any_resize, nearest_resize

MOST = 0.5  # share of the image from which on a mask marks the part or its background, no defect
TRUTH = ("mask", "part", "misleading", "extent", "tiny", "area")
"""What the ground truth of a sample is made of."""


def load_tensors(
    reader: DatasetReader, sample: Sample, size: int | Canvas, wanted: Collection[str]
) -> dict[str, Tensor]:
    """Read what is asked for of a sample, and resize all of it to the same area of a canvas.

    Only the files needed are opened. ``part`` is the prepared foreground mask where there is one
    and is found in the depth map otherwise, at native size; without depth it is the whole image.
    Holes in the depth image are filled inside the prepared mask, or everywhere without one.

    Args:
        reader: The dataset.
        sample: Which sample.
        size: The canvas, S high and wide; a number is a square that every image fills. Depth needs
            such a square.
        wanted: What to read: modalities of the sample, and names out of :data:`TRUTH`.

    Returns:
        Each modality as ``(3, S, S)`` float32 in [0, 1], ``mask`` and ``part`` as
        ``(S, S)`` bool; ``misleading``, whether a score of the depth says nothing; ``extent``,
        width over height, and how far points reach, NaN where there are none, ``(2,)``;
        ``tiny``, whether the defect has less than the area of one resized pixel; and ``area``,
        height and width of the image on the canvas, pixels, ``(2,)`` int64.

    Raises:
        DataError: A file cannot be used, or the files' sizes differ.
    """
    asked = set(wanted)
    colours = {name: reader.read(sample, name) for name in wanted if name not in ("depth", *TRUTH)}
    mask = reader.read_mask(sample) if {"mask", "tiny", "area"} & asked else None
    part = reader.read_part(sample) if {"depth", "part"} & asked else None
    region = part  # only a prepared mask says where the depth image's holes are to be filled
    z = stored = None
    has_depth = "depth" in sample.files
    if has_depth and {"misleading", "extent"} & asked:
        stored = reader.read_stored(sample)
        z = reader.rules.depth(stored, str(sample.files["depth"]))
    elif "depth" in asked or (has_depth and "part" in asked and part is None):
        z = reader.read(sample, "depth")
    _check_sizes(sample, depth=z, **colours, mask=mask, part=part)
    if mask is not None and z is None and not colours:  # by a header: the truth opens no photograph
        _check_mask_alone(sample, mask)

    canvas = as_canvas(size)
    tensors = {
        name: torch.from_numpy(rgb_pixels(pixels, canvas)) for name, pixels in colours.items()
    }
    if mask is not None:
        area = canvas.area(*mask.shape)
        resize = any_resize if reader.rules.shrink == "area" else nearest_resize
        if "tiny" in asked:
            tensors["tiny"] = torch.tensor(is_tiny(mask, area))
        if "mask" in asked:
            tensors["mask"] = _laid(resize(mask, area), canvas)
        if "area" in asked:
            tensors["area"] = torch.tensor(area)
    if "part" in asked:
        found = part_mask(z) if part is None and z is not None else part
        if found is None:
            tensors["part"] = torch.ones(canvas.shape, dtype=torch.bool)
        else:
            tensors["part"] = _laid(nearest_resize(found, canvas.area(*found.shape)), canvas)
    if {"misleading", "extent"} & asked:
        tensors |= _doubts(reader, sample, stored, z)
    if z is not None and "depth" in asked:
        name = str(sample.files["depth"])
        shrink = reader.rules.shrink
        tensors["depth"] = depth_image(z, canvas.height, region, name=name, shrink=shrink)
    return tensors


def _laid(mask: NDArray[np.bool_], canvas: Canvas) -> Tensor:
    """Lay a mask of an image's area on the canvas; beside it nothing is marked."""
    beside = [(0, whole - side) for whole, side in zip(canvas.shape, mask.shape, strict=True)]
    return torch.from_numpy(np.pad(mask, beside))


def _check_mask_alone(sample: Sample, mask: NDArray[np.bool_]) -> None:
    """Refuse a mask of another size than its sample's images."""
    if sample.masks and "depth" not in sample.files:
        image = next(iter(sample.files.values()))
        check_size(sample.masks[0], mask.shape, image, photograph_size(image))


def _doubts(
    reader: DatasetReader,
    sample: Sample,
    stored: NDArray[Any] | None,
    z: NDArray[np.float32] | None,
) -> dict[str, Tensor]:
    """Tell what may be wrong with a sample's depth; of a photograph alone, only its aspect."""
    if stored is None or z is None:
        height, width = reader.read_mask(sample).shape
        extent = torch.tensor([width / height, float("nan")])
        return {"misleading": torch.tensor(False), "extent": extent}
    odd = oddities(stored, z, reader.rules)
    seen = InputProfile.of([stored], reader.rules)
    reach = float("nan") if seen.extent is None else seen.extent
    return {
        "misleading": torch.tensor(any(oddity.misleads for oddity in odd)),
        "extent": torch.tensor([seen.aspect, reach]),
    }


def is_tiny(mask: NDArray[np.bool_], area: tuple[int, int]) -> bool:
    """Tell whether a mask marks something, but less than one pixel when it is resized to an area.

    Args:
        mask: ``(H, W)``.
        area: Height and width, pixels.
    """
    return bool(0 < mask.sum() * area[0] * area[1] < mask.size)


def _check_sizes(sample: Sample, **pixels: NDArray[Any] | None) -> None:
    """Refuse images of different sizes; what is named first is what the others are held to."""
    first = sample.files.get("depth") or next(iter(sample.files.values()))
    paths = {
        **sample.files,
        "mask": sample.masks[0] if sample.masks else first,
        "part": sample.part or first,
    }
    shapes = [(paths[name], image.shape) for name, image in pixels.items() if image is not None]
    for path, shape in shapes[1:]:
        check_size(path, shape, *shapes[0])
