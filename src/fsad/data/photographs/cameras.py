"""Pairs of photographs: each part seen by several cameras, such as colour and infrared."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self, get_args

from fsad.data.depth_rules import DepthRules
from fsad.data.photographs.reader import (
    MASKS,
    ListedImages,
    PhotographReader,
    files_in,
    folders_in,
    without_mask,
)
from fsad.data.sample import Split
from fsad.data.transforms import TRUTH
from fsad.errors import ConfigError

TAKEN = ("depth", MASKS, *TRUTH, "truth", "score", "map")
"""What a camera cannot be called: names that files, ground truth or exported models have."""


class Cameras(PhotographReader):
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
    def open(
        cls,
        root: Path,
        rules: DepthRules | None,
        light: int,  # noqa: ARG003
        cameras: Sequence[str],
    ) -> Self:
        """Return the reader with the options of the command line.

        Raises:
            ConfigError: The cameras' names are not different, or one is taken.
        """
        if not cameras:
            return cls(root, rules)
        return cls(root, rules, cameras=_check_cameras(cameras, "--camera"))

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Tell whether a folder has this layout."""
        return any(root.glob("*/train/good/ir"))

    def expected_in(self, split: str) -> str:
        """Say where in a split's folder images are looked for."""
        if split == "train":
            return f"{self.mark}/{self.modalities[0]}/"
        return f"<defect>/{{{','.join(self.modalities)}}}/"

    def read_folders(self, category: str) -> Iterable[Path]:
        """Return the folders of a category whose own files are read."""
        for name in self.split_folders.values():
            for folder in folders_in(self.root / category / name):
                yield from (folder / kind for kind in (*self.modalities, MASKS))

    def listed(self, category: str, split: str) -> Iterator[ListedImages]:
        """List the images of one split, defect by defect, sorted."""
        for folder in folders_in(self.root / category / self.split_folders[split]):
            images = {name: files_in(folder / name) for name in self.modalities}
            masks = files_in(folder / MASKS, without_mask)
            kinds = (*images.values(), masks)
            yield ListedImages(
                defect=folder.name,
                images={name: files.files for name, files in images.items()},
                patterns={name: f"{name}/*.png" for name in (*images, MASKS)},
                masks=masks.files,
                left_out=tuple(path for files in kinds for path in files.others),
                doubled=tuple(line for files in kinds for line in files.doubled),
            )


def _check_cameras(cameras: object, name: str = "data.reader.cameras") -> tuple[str, ...]:
    """Return the names of cameras if they are different names of folders, and none is taken.

    Args:
        cameras: What the user says.
        name: What the user calls the setting.

    Raises:
        ConfigError: They are something else.
    """
    is_list = isinstance(cameras, Sequence) and not isinstance(cameras, str)
    names = list(cameras) if is_list else []  # type: ignore[call-overload]
    are_names = all(isinstance(each, str) and each and "/" not in each for each in names)
    if not names or not are_names or len(set(names)) < len(names) or set(names) & set(TAKEN):
        raise ConfigError(
            f"{name}: expected a list of different names of folders, none of {', '.join(TAKEN)}, "
            f"got {cameras!r}"
        )
    return tuple(names)
