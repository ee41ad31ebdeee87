"""Eyecandies as distributed."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from fsad.data.depth_rules import DepthRules
from fsad.data.images import read_grey16_png
from fsad.data.listing import by_stem, find_categories, holds_files
from fsad.data.pairs import Sample, check_category, check_partners, check_root, check_split
from fsad.data.reader import FolderReader
from fsad.data.record import PREPARED
from fsad.errors import ConfigError, DataError, MissingDataError, check_at_least
from fsad.storage.regular import refuse_irregular

FOLDERS = {"train": "train", "validation": "val", "test": "test_public"}
MARK = "data"  # what a split of this layout holds
DEPTH, RANGE, LABELS, MASK = "*_depth.png", "*_info_depth.yaml", "*_metadata.yaml", "*_mask.png"


class Eyecandies(FolderReader):
    """Reads ``<category>/{train,val,test_public}/data/NN_{image_L.png,depth.png,...}``.

    Each frame is rendered under six lights; one of them is read. Depth is a 16-bit png over the
    range in ``info_depth.yaml``: ``z = min + v / 65535 * (max - min)``. No value marks the
    background or a hole: 0 is the nearest and 65535 the farthest pixel of the scene, which is a
    closed box around the part, and both continue their neighbours smoothly.

    A frame's defect is the one set among ``anomalous_{bumps,dents,colors,normals}`` in
    ``metadata.yaml``, ``combined`` if several are. ``mask.png`` is the union of the masks by
    kind. Defects of colour and of shading normals are not visible in depth.

    Args:
        root: The folder that holds the categories.
        rules: How images are made smaller; every pixel is a reading, in the renderer's unit.
        light: Which rendering to read as the RGB image.

    Raises:
        ConfigError: ``light`` is negative, or ``rules`` name readings or a unit.

    Source:
        Bonfiglioli et al., The Eyecandies dataset, ACCV 2022.

    Examples:
        >>> import fsad
        >>> reader = fsad.Eyecandies("candies")
        >>> [(sample.stem, sample.defect) for sample in reader.samples("CandyCane", "train")]
        [('000', 'good')]
    """

    def __init__(
        self, root: str | Path, rules: DepthRules | None = None, *, light: int = 4
    ) -> None:
        super().__init__(root, rules)
        asked = {name: getattr(self.rules, name) for name in ("invalid", "z_range", "unit")}
        for name, value in asked.items():
            if value:
                raise ConfigError(
                    f"data.{name}: expected none for Eyecandies, whose pixels are all readings in "
                    f"the renderer's unit, got {value!r}"
                )
        self.light = check_at_least("data.reader.light", light, 0)

    def categories(self) -> list[str]:
        """Return every category found, whole or not, sorted.

        Raises:
            MissingDataError: There is no such folder, or no category in it.
            DataError: The folder holds prepared data.
        """
        if (check_root(self.root) / PREPARED).exists():
            raise DataError(
                f"{self.root}: expected Eyecandies as distributed, got a prepared copy "
                f"({PREPARED}). Prepared copies have the MVTec 3D-AD layout: use data=mvtec3d."
            )
        found = find_categories(self.root, FOLDERS.values(), MARK)
        if not found:
            raise MissingDataError(
                f"{self.root}: expected <category>/train/data, got no such folder. Set data.root "
                "to the folder that holds the categories."
            )
        return found

    def samples(self, category: str, split: str) -> list[Sample]:
        """Return the samples of one split, sorted by defect and stem.

        Raises:
            ConfigError: The category or split is unknown.
            MissingDataError: The split has no frames, a frame lacks a file, or the light is not
                there.
            DataError: A frame's metadata cannot be read.
        """
        root = self.root / check_category(category, self.categories())
        folder = root / FOLDERS[check_split(split)] / MARK
        image = f"*_image_{self.light}.png"
        images, depths, ranges, labels, masks = (
            by_stem(folder, pattern) for pattern in (image, DEPTH, RANGE, LABELS, MASK)
        )
        if not images:
            if split != "train" and not holds_files(folder):
                return []
            raise MissingDataError(f"{folder}: expected {image}, got {_lights(folder)}")
        for name, files in ((DEPTH, depths), (RANGE, ranges), (LABELS, labels)):
            check_partners(folder, images, files, (image, name))
        check_partners(folder, depths, images, (DEPTH, image))
        defects = {stem: read_defect(labels[stem]) for stem in images}
        samples = [
            Sample(
                category=category,
                split=split,
                defect=defects[stem],
                stem=stem,
                rgb=images[stem],
                depth=depths[stem],
                masks=(masks[stem],) if stem in masks else (),
                about_depth=(ranges[stem],),
            )
            for stem in images
        ]
        return sorted(samples, key=lambda sample: (sample.defect, sample.stem))

    def read_stored(self, sample: Sample) -> NDArray[np.float64]:
        """Return z, ``(H, W)``, in the renderer's units.

        Raises:
            DataError: The image or its range is unreadable.
        """
        low, high = _range(sample.depth.with_name(RANGE.replace("*", sample.stem)))
        share = read_grey16_png(sample.depth) / 65535.0
        return np.asarray(low + share * (high - low))


def _lights(folder: Path) -> str:
    lights = {re.sub(r".*_image_(\d+)", r"\1", path.stem) for path in folder.glob("*_image_*.png")}
    if not lights:
        return "none"
    return f"light {', '.join(sorted(lights))}. Set data.reader.light (or --light) to one of them."


def _mapping(path: Path) -> dict[str, Any]:
    refuse_irregular(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: expected readable yaml, got '{reason}'") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected yaml with named values, got {content!r}")
    return content


def _range(path: Path) -> tuple[float, float]:
    content = _mapping(path).get("normalization")
    try:
        low, high = float(content["min"]), float(content["max"])  # type: ignore[index]
        ordered = np.isfinite([low, high]).all() and low <= high
    except (TypeError, KeyError, ValueError):
        ordered = False
    if not ordered:
        raise DataError(f"{path}: expected normalization with min <= max, got {content!r}")
    return low, high


def read_defect(path: Path) -> str:
    """Return the kind of defect a frame's ``metadata.yaml`` tells, ``good`` for none.

    Raises:
        DataError: The file is no such metadata.
    """
    labels = _mapping(path)
    if "anomalous" not in labels:
        raise DataError(f"{path}: expected the label 'anomalous', got {', '.join(labels)}")
    kinds = [name.removeprefix("anomalous_") for name, value in labels.items() if value]
    kinds = [kind for kind in kinds if kind != "anomalous"]
    if not kinds:
        return "anomalous" if labels["anomalous"] else "good"
    return kinds[0] if len(kinds) == 1 else "combined"
