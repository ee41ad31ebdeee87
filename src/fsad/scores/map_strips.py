"""Pictures of the test images: what came in, what is true, and what each domain says."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fsad.data.datamodule import DataModule
from fsad.data.sample import Sample
from fsad.data.transforms import load_tensors
from fsad.scores.colormap import coloured
from fsad.scores.score_set import ScoreSet
from fsad.scores.scored_images import MAIN, ScoredImages, set_of
from fsad.storage.tensors import atomic

GAP = 4  # pixels between panels
UNKNOWN = 128  # grey, of a truth that nobody marked
LONGEST = 255  # bytes of a file's name that file systems take


def write_maps(
    folder: Path, data: DataModule, scored: ScoredImages, scores: ScoreSet
) -> list[Path]:
    """Write a strip per test image: each modality, truth, each part's map, and the combined map.

    All maps of a category share one colour scale per kind of score, from its lowest to its highest
    value over the test images, so that strips can be compared.

    Args:
        folder: Where the strips go, as ``<defect>_<stem>.png``; where a file system would not take
            so long a name, as ``image_<place>.png``.
        data: One category's data.
        scored: Its scores.
        scores: Those of all test images.

    Returns:
        The files, most anomalous image first.
    """
    if not scored.images:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    names = [set_of(name) for name in scored.parts]
    kinds = names if len(names) == 1 else [*names, MAIN]
    samples = data.test_samples
    ranked = sorted(
        range(len(scored.images)), key=lambda place: scored.images[place].main, reverse=True
    )
    files = []
    for place in ranked:
        index = scored.images[place].index
        sample = samples[index]
        seen = load_tensors(data.reader, sample, data.canvas, (*sample.files, "mask"))
        one = {name: each.at(slice(index, index + 1)) for name, each in scores.items()}
        found = {set_of(name): maps for name, maps in scored.maker.part_maps(one).items()}
        _, combined = scored.maker.combine(one)
        if combined is not None:
            found[MAIN] = combined
        maps = [(found[name][0].numpy(), scored.limits[name]) for name in kinds if name in found]
        panels = [
            *(_picture(seen[modality]) for modality in sample.files),
            np.repeat(truth_pixels(sample, seen["mask"])[..., None], 3, axis=2),
            *(coloured(values, *limit) for values, limit in maps),
        ]
        path = folder / _name(sample, index)
        with atomic(path) as partial:
            Image.fromarray(_side_by_side(panels)).save(partial, format="PNG")
        files.append(path)
    return files


def _name(sample: Sample, place: int) -> str:
    name = f"{sample.defect}_{sample.stem}.png"
    return name if len(os.fsencode(name)) <= LONGEST else f"image_{place:05d}.png"


def _picture(image: Tensor) -> NDArray[np.uint8]:
    """Turn ``(3, H, W)`` in [0, 1] into ``(H, W, 3)`` bytes; what is beside an image is black."""
    pixels: NDArray[np.uint8] = (
        (image.clamp(min=0).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    )
    return pixels


def truth_pixels(sample: Sample, mask: Tensor) -> NDArray[np.uint8]:
    """Return a picture of the ground truth, ``(S, S)``: white is defective, grey not known."""
    if not sample.is_truth(mask):
        return np.full(tuple(mask.shape), UNKNOWN, np.uint8)
    return mask.numpy().astype(np.uint8) * np.uint8(255)


def _side_by_side(panels: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    gap = np.full((panels[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)
