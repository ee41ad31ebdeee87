"""MVTec 3D-AD in its original layout, and every dataset prepared by ``fsad data prepare``."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, get_args

from fsad.data.depth_file import SUFFIXES
from fsad.data.folder import Folder, list_files
from fsad.data.listing import by_stem, check_category, check_partners, holds_files, left_out
from fsad.data.reader import FolderReader
from fsad.data.record import PREPARED
from fsad.data.sample import Sample, Split, check_split
from fsad.errors import MissingDataError

RGB, XYZ, GT, PART = "rgb/*.png", "xyz/*.tiff", "gt/*.png", "part/*.png"


def patterns_in(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return what files of each kind are called in a ``<split>/<defect>`` folder.

    Depth lies in ``xyz/``, or where nothing lies there in ``depth/``.
    """
    place = "depth" if (folder / "depth").is_dir() and not any(folder.glob("xyz/*")) else "xyz"
    depth = tuple(f"{place}/*{suffix}" for suffix in SUFFIXES)
    return {"rgb": (RGB,), "depth": depth, "gt": (GT,), "part": (PART,)}


class MVTec3D(FolderReader):
    """Reads ``<category>/{train,validation,test}/{good,<defect>}/{rgb,xyz,gt,part}``.

    RGB images and masks are png, point clouds are organised float tiff whose third channel is z,
    (0, 0, 0) where invalid. In data of your own ``xyz/`` or ``depth/`` may hold any file that
    :func:`~fsad.data.depth_file.read_depth_file` reads, and suffixes may be upper case. ``part``
    exists only in prepared data. A category is a folder with any of the splits; one without
    ``train`` is refused when it is opened. Defective images may have no mask.

    Args:
        root: The folder that holds the categories.
        rules: How depth files are read; as MVTec 3D-AD's if omitted.

    Source:
        Bergmann et al., The MVTec 3D-AD dataset, VISAPP 2022.

    Examples:
        >>> import fsad
        >>> reader = fsad.MVTec3D("my_data")
        >>> reader.categories()
        ['knob', 'tile']
        >>> sample = reader.samples("knob", "test")[0]
        >>> reader.read(sample, "depth").shape, reader.read(sample, "rgb").shape
        ((64, 64), (64, 64, 3))
    """

    layout: ClassVar[str] = "mvtec3d"
    mark: ClassVar[str] = "good"
    split_folders: ClassVar[Mapping[str, str]] = {name: name for name in get_args(Split)}
    # Metres: the published value; cable_gland's table is flat to 0.0025 and its parts look the
    # same from 0.003 on (training images).
    plane_height: ClassVar[float] = 0.005
    remedy: ClassVar[str] = (
        "Set data.root to the folder that holds the categories; Eyecandies as distributed needs "
        "data=eyecandies."
    )

    def samples(self, category: str, split: str) -> list[Sample]:
        """Return the samples of one split, sorted by defect and stem.

        Raises:
            ConfigError: The category or split is unknown.
            MissingDataError: There are no training images, a file lacks its partner, or none of a
                test's files is where it is expected.
            DataError: Two files have the same stem.
        """
        folder = self.root / check_category(category, self.categories()) / check_split(split)
        defects = sorted(path for path in folder.glob("*") if path.is_dir())
        samples = [sample for path in defects for sample in _samples(path, category, split)]
        if not samples and split == "train":
            raise MissingDataError(f"{folder}: expected {{good,<defect>}}/{RGB}, got none")
        if not samples and split == "test" and holds_files(folder):
            raise MissingDataError(
                f"{folder}: expected {{good,<defect>}}/{RGB}, got other files alone. Lay the "
                "images out so, or take the folder away to train without test images."
            )
        return samples

    def read_folders(self, category: str) -> Iterable[Path]:
        """Return the folders of a category whose own files are read."""
        for name in self.split_folders.values():
            for folder in (self.root / category / name).glob("*/"):
                yield from (folder / kind for kind in ("rgb", "xyz", "depth", "gt", "part"))

    def folders(self, category: str, problems: list[str]) -> Iterator[Folder]:
        """List a category's files, whole or not; doubled files are added to ``problems``."""
        prepared = (self.root / PREPARED).exists()
        names = {"rgb": RGB, "depth": XYZ, "gt": GT} | ({"part": PART} if prepared else {})
        for split in get_args(Split):
            for folder in sorted((self.root / category / split).glob("*/")):
                patterns = patterns_in(folder)
                yield Folder(
                    category=category,
                    split=split,
                    defect=folder.name,
                    patterns=names,
                    needed=tuple(kind for kind in names if kind != "gt"),
                    files={kind: list_files(folder, problems, *patterns[kind]) for kind in names},
                    modalities=self.modalities,
                    with_it={},
                    left_out=tuple(_left_out(folder, patterns)),
                )


def _left_out(folder: Path, patterns: Mapping[str, tuple[str, ...]]) -> list[Path]:
    """Return the files that a run does not read, a second folder of depth among them."""
    read = [pattern for names in patterns.values() for pattern in names]
    unread = sorted(path for path in (folder / "depth").glob("*") if not path.is_dir())
    return left_out(folder, *read) + ([] if "depth/*.png" in read else unread)


def _samples(folder: Path, category: str, split: str) -> list[Sample]:
    """Pair the files of one ``<split>/<defect>`` folder by stem."""
    rgb, depth, masks, parts = (
        by_stem(folder, *patterns) for patterns in patterns_in(folder).values()
    )
    check_partners(folder, rgb, depth, (RGB, XYZ))
    check_partners(folder, depth, rgb, (XYZ, RGB))
    if split == "test" and folder.name != "good":
        check_partners(folder, masks, rgb, (GT, RGB))
    if parts:
        check_partners(folder, rgb, parts, (RGB, PART))
    return [
        Sample(
            category=category,
            split=split,
            defect=folder.name,
            stem=stem,
            files={"rgb": rgb[stem], "depth": depth[stem]},
            masks=(masks[stem],) if stem in masks else (),
            part=parts.get(stem),
        )
        for stem in sorted(rgb)
    ]
