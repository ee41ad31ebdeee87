"""MVTec 3D-AD in its original layout, and every dataset prepared by ``fsad data prepare``."""

from pathlib import Path
from typing import Any, get_args

from numpy.typing import NDArray

from fsad.data.depth_file import SUFFIXES, read_depth_file
from fsad.data.listing import by_stem, find_categories, holds_files
from fsad.data.pairs import Sample, Split, check_category, check_partners, check_root, check_split
from fsad.data.reader import FolderReader
from fsad.errors import MissingDataError

RGB, XYZ, GT, PART = "rgb/*.png", "xyz/*.tiff", "gt/*.png", "part/*.png"
MARK = "good"  # what a split of this layout holds


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
        >>> reader.read_depth(sample).shape, reader.read_rgb(sample).shape
        ((64, 64), (64, 64, 3))
    """

    def categories(self) -> list[str]:
        """Return every category found, whole or not, sorted.

        Raises:
            MissingDataError: There is no such folder, or no category in it.
        """
        found = find_categories(check_root(self.root), get_args(Split), MARK)
        if not found:
            raise MissingDataError(
                f"{self.root}: expected <category>/train/good, got no such folder. Set data.root "
                "to the folder that holds the categories; Eyecandies as distributed needs "
                "data=eyecandies."
            )
        return found

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

    def read_stored(self, sample: Sample) -> NDArray[Any]:
        """Return depth ``(H, W)`` or points ``(H, W, 3)`` as the file has them.

        Raises:
            DataError: The file is unreadable or of another kind.
        """
        return read_depth_file(sample.depth)


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
            rgb=rgb[stem],
            depth=depth[stem],
            masks=(masks[stem],) if stem in masks else (),
            part=parts.get(stem),
        )
        for stem in sorted(rgb)
    ]
