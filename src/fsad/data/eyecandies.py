"""Eyecandies as distributed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import yaml
from numpy.typing import NDArray

from fsad.data.camera import back_project
from fsad.data.depth_rules import DepthRules
from fsad.data.folder import Folder, list_files
from fsad.data.images import read_grey16_png
from fsad.data.listing import by_stem, check_category, check_partners, check_root, holds_files
from fsad.data.reader import FolderReader
from fsad.data.record import PREPARED
from fsad.data.sample import Sample, check_split
from fsad.errors import ConfigError, DataError, MissingDataError, check_at_least
from fsad.storage.regular import refuse_irregular

DEPTH, RANGE, LABELS, MASK = "*_depth.png", "*_info_depth.yaml", "*_metadata.yaml", "*_mask.png"
FOCAL = 50 / 36  # of the image's width: a 50 mm lens before a 36 mm sensor


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

    layout: ClassVar[str] = "eyecandies"
    mark: ClassVar[str] = "data"
    split_folders: ClassVar[Mapping[str, str]] = {
        "train": "train",
        "validation": "val",
        "test": "test_public",
    }
    unit: ClassVar[str] = "renderer's unit"
    plane_height: ClassVar[float] = 0.005  # the ground is flat to 0.0001, a part 0.1 to 1 high
    png_holes: ClassVar[bool] = False

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
        self.light: int = check_at_least("data.reader.light", light, 0)

    @classmethod
    def open(
        cls,
        root: Path,
        rules: DepthRules | None,
        light: int,
        cameras: Sequence[str],  # noqa: ARG003
    ) -> Self:
        """Return the reader with the options of the command line."""
        return cls(root, rules, light=light)

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
        return super().categories()

    def samples(self, category: str, split: str) -> list[Sample]:
        """Return the samples of one split, sorted by defect and stem.

        Raises:
            ConfigError: The category or split is unknown.
            MissingDataError: The split has no frames, a frame lacks a file, or the light is not
                there.
            DataError: A frame's metadata cannot be read.
        """
        root = self.root / check_category(category, self.categories())
        folder = root / self.split_folders[check_split(split)] / self.mark
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
                files={"rgb": images[stem], "depth": depths[stem]},
                masks=(masks[stem],) if stem in masks else (),
                further={"depth": (ranges[stem],)},
            )
            for stem in images
        ]
        return sorted(samples, key=lambda sample: (sample.defect, sample.stem))

    def read_stored(self, sample: Sample) -> NDArray[np.float64]:
        """Return z, ``(H, W)``, in the renderer's units.

        Raises:
            DataError: The image or its range is unreadable.
        """
        path = sample.files["depth"]
        low, high = _range(path.with_name(RANGE.replace("*", sample.stem)))
        share = read_grey16_png(path) / 65535.0
        return np.asarray(low + share * (high - low))

    def read_points(self, sample: Sample) -> NDArray[np.float32]:
        """Return organised points, ``(H, W, 3)``, in the renderer's units.

        Raises:
            DataError: The image or its range is unreadable.
        """
        return back_project(self.read(sample, "depth"), FOCAL)

    def folders(self, category: str, problems: list[str]) -> Iterator[Folder]:
        """List a category's files; what cannot be read or is doubled joins ``problems``."""
        patterns = {
            "rgb": f"*_image_{self.light}.png",
            "depth": DEPTH,
            "range": RANGE,
            "labels": LABELS,
            "gt": MASK,
        }
        for split, name in self.split_folders.items():
            folder = self.root / category / name / self.mark
            files = {
                kind: list_files(folder, problems, pattern) for kind, pattern in patterns.items()
            }
            stems = {stem for paths in files.values() for stem in paths}
            defects = {stem: _defect(files["labels"].get(stem), problems) for stem in stems}
            for defect in sorted(set(defects.values())):
                yield Folder(
                    category=category,
                    split=split,
                    defect=defect,
                    patterns=patterns,
                    needed=tuple(kind for kind in patterns if kind != "gt"),
                    files={
                        kind: {s: path for s, path in paths.items() if defects[s] == defect}
                        for kind, paths in files.items()
                    },
                    modalities=self.modalities,
                    with_it={"depth": ("range",)},
                )


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


def _defect(labels: Path | None, problems: list[str]) -> str:
    if labels is None:
        return "unknown"
    try:
        return read_defect(labels)
    except DataError as error:
        problems.append(str(error))
        return "unknown"
