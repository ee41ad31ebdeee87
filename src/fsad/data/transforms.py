"""From a sample's files to tensors of one size, all modalities together."""

from collections.abc import Collection
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fsad.data.depth import depth_image
from fsad.data.images import check_size
from fsad.data.oddities import oddities
from fsad.data.pairs import PairReader, Sample
from fsad.data.part import part_mask
from fsad.data.profile import InputProfile
from fsad.data.shrink import any_resize, nearest_resize

MOST = 0.5  # share of the image from which on a mask marks the part or its background, no defect
Modality: TypeAlias = Literal["rgb", "depth", "mask", "part", "misleading", "extent", "tiny"]


def rgb_image(rgb: NDArray[np.uint8], size: int) -> Tensor:
    """Resize an RGB image to a square, bicubic with antialiasing.

    Args:
        rgb: ``(H, W, 3)``.
        size: S, the side of the result; the aspect ratio is not kept.

    Returns:
        ``(3, S, S)`` float32 in [0, 1].
    """
    image = Image.fromarray(rgb).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255


def load_tensors(
    reader: PairReader, sample: Sample, size: int, modalities: Collection[Modality]
) -> dict[Modality, Tensor]:
    """Read what is asked for of a sample, and resize all of it to the same square.

    Only the files needed are opened. ``part`` is the prepared foreground mask where there is one
    and is found in the depth map otherwise, at native size. Holes in the depth image are filled
    inside the prepared mask, or everywhere without one.

    Args:
        reader: The dataset.
        sample: Which sample.
        size: S, the side of the results.
        modalities: What to read.

    Returns:
        ``rgb`` and ``depth`` as ``(3, S, S)`` float32 in [0, 1], ``mask`` and ``part`` as
        ``(S, S)`` bool; ``misleading``, whether a score of the depth says nothing; ``extent``,
        width over height, and how far points reach, NaN where there are none, ``(2,)``;
        and ``tiny``, whether the defect has less than the area of one resized pixel.

    Raises:
        DataError: A file cannot be used, or the files' sizes differ.
    """
    rgb = reader.read_rgb(sample) if "rgb" in modalities else None
    mask = reader.read_mask(sample) if {"mask", "tiny"} & set(modalities) else None
    part = reader.read_part(sample) if {"depth", "part"} & set(modalities) else None
    region = part  # only a prepared mask says where the depth image's holes are to be filled
    z = None
    about = {"misleading", "extent"} & set(modalities)
    if about:
        stored = reader.read_stored(sample)
        z = reader.rules.depth(stored, str(sample.depth))
    elif "depth" in modalities or ("part" in modalities and part is None):
        z = reader.read_depth(sample)
    _check_sizes(sample, depth=z, rgb=rgb, mask=mask, part=part)
    if z is not None and part is None and "part" in modalities:
        part = part_mask(z)

    tensors: dict[Modality, Tensor] = {}
    if rgb is not None:
        tensors["rgb"] = rgb_image(rgb, size)
    if mask is not None and "tiny" in modalities:
        tensors["tiny"] = torch.tensor(is_tiny(mask, size))
    if mask is not None and "mask" in modalities:
        resize = any_resize if reader.rules.shrink == "area" else nearest_resize
        tensors["mask"] = torch.from_numpy(resize(mask, size))
    if part is not None and "part" in modalities:
        tensors["part"] = torch.from_numpy(nearest_resize(part, size))
    if z is not None and about:
        odd = oddities(stored, z, reader.rules)
        tensors["misleading"] = torch.tensor(any(oddity.misleads for oddity in odd))
        seen = InputProfile.of([stored], reader.rules)
        extent = float("nan") if seen.extent is None else seen.extent
        tensors["extent"] = torch.tensor([seen.aspect, extent])
    if z is not None and "depth" in modalities:
        tensors["depth"] = depth_image(
            z, size, region, name=str(sample.depth), shrink=reader.rules.shrink
        )
    return tensors


def is_tiny(mask: NDArray[np.bool_], size: int) -> bool:
    """Tell whether a mask marks something, but less than the area of one pixel at ``size``."""
    return bool(0 < mask.sum() * size * size < mask.size)


def _check_sizes(sample: Sample, **pixels: NDArray[Any] | None) -> None:
    paths = {
        "depth": sample.depth,
        "rgb": sample.rgb,
        "mask": sample.masks[0] if sample.masks else sample.depth,
        "part": sample.part or sample.depth,
    }
    shapes = [(paths[name], image.shape) for name, image in pixels.items() if image is not None]
    for path, shape in shapes[1:]:
        check_size(path, shape, *shapes[0])
