"""Pairs of photographs: each part seen by several cameras, such as colour and infrared."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, get_args

from fsad.data.depth_rules import DepthRules
from fsad.data.folder import Folder
from fsad.data.listing import check_category, holds_files
from fsad.data.photographs.reader import FilesIn, files_in, folders_in, without_mask
from fsad.data.reader import FolderReader
from fsad.data.sample import Sample, Split, check_split
from fsad.errors import ConfigError, DataError, MissingDataError

MASKS = "gt"


TAKEN = ("depth", MASKS, "mask", "part", "misleading", "extent", "tiny", "truth", "score", "map")
"""What a camera cannot be called: names that files, ground truth or exported models have."""


class Cameras(FolderReader):
    """Reads ``<category>/{train,test}/<defect>/<camera>/*`` with masks in ``.../<defect>/gt/*``.

    A camera's folder is the modality's name. Images of one part have one stem, and one size.

    Args:
        root: The folder that holds the categories.
        rules: None is needed.
        cameras: The modalities, at least one, such as ``[rgb, ir]``.

    Raises:
        ConfigError: ``cameras`` is no list of different names, or one of them is taken.

    Source:
        The layout of MulSen-AD's processed pairs (Li et al., CVPR 2025) of RGB and infrared, and
        of MVTec 3D-AD with another sensor in place of ``xyz``.
    """

    layout: ClassVar[str] = "cameras"
    mark: ClassVar[str] = "good"
    split_folders: ClassVar[Mapping[str, str]] = {name: name for name in get_args(Split)}

    def __init__(
        self,
        root: str | Path,
        rules: DepthRules | None = None,
        *,
        cameras: Sequence[str] = ("rgb", "ir"),
    ) -> None:
        super().__init__(root, rules)
        self.modalities: tuple[str, ...] = _check_cameras(cameras)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Tell whether a folder has this layout."""
        return any(root.glob("*/train/good/ir"))

    def samples(self, category: str, split: str) -> list[Sample]:
        """Return the samples of one split, sorted by defect and stem.

        Raises:
            ConfigError: The category or split is unknown.
            MissingDataError: There are no training images, or a file lacks its partner.
            DataError: Two files have the same stem.
        """
        base = self.root / check_category(category, self.categories()) / check_split(split)
        samples = []
        for folder in folders_in(base):
            files, masks = self._files(folder)
            for doubled in (it for files_of in (*files.values(), masks) for it in files_of.doubled):
                raise DataError(doubled)
            stems = {stem for images in files.values() for stem in images.files} | set(masks.files)
            for name, images in files.items():
                if missing := sorted(stems - images.files.keys()):
                    raise MissingDataError(
                        f"{folder}: expected {name}/{missing[0]} beside the other cameras' image "
                        "or its mask, got none"
                    )
            samples += [
                Sample(
                    category=category,
                    split=split,
                    defect=folder.name,
                    stem=stem,
                    files={name: images.files[stem] for name, images in files.items()},
                    masks=(masks.files[stem],) if stem in masks.files else (),
                )
                for stem in sorted(stems)
            ]
        if not samples and split == "train":
            raise MissingDataError(
                f"{base}: expected images in good/{self.modalities[0]}/, got none"
            )
        if not samples and holds_files(base):
            raise MissingDataError(
                f"{base}: expected images in <defect>/{{{','.join(self.modalities)}}}/, got other "
                "files alone. Lay the images out so, or take the folder away to train without test "
                "images."
            )
        return samples

    def folders(self, category: str, problems: list[str]) -> Iterator[Folder]:
        """List a category's files, whole or not; doubled ones join ``problems``."""
        for split in get_args(Split):
            for folder in folders_in(self.root / category / split):
                files, masks = self._files(folder)
                listed = {**files, MASKS: masks}
                problems += [it for found in listed.values() for it in found.doubled]
                yield Folder(
                    category=category,
                    split=split,
                    defect=folder.name,
                    patterns={name: f"{name}/*.png" for name in listed},
                    needed=self.modalities,
                    files={name: found.files for name, found in listed.items()},
                    modalities=self.modalities,
                    with_it={},
                    left_out=tuple(path for found in listed.values() for path in found.others),
                )

    def _files(self, folder: Path) -> tuple[dict[str, FilesIn], FilesIn]:
        images = {name: files_in(folder / name) for name in self.modalities}
        return images, files_in(folder / MASKS, without_mask)


def _check_cameras(cameras: object) -> tuple[str, ...]:
    """Return the names of cameras if they are different names of folders, and none is taken.

    Raises:
        ConfigError: They are something else.
    """
    is_list = isinstance(cameras, Sequence) and not isinstance(cameras, str)
    names = list(cameras) if is_list else []  # type: ignore[call-overload]
    are_names = all(isinstance(name, str) and name and "/" not in name for name in names)
    if not names or not are_names or len(set(names)) < len(names) or set(names) & set(TAKEN):
        raise ConfigError(
            "data.reader.cameras: expected a list of different names of folders, none of "
            f"{', '.join(TAKEN)}, got {cameras!r}"
        )
    return tuple(names)
