"""RGB/depth pairs: what a sample is, what a reader of a dataset offers, what a batch holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fsad.data.depth_rules import DepthRules
from fsad.errors import ConfigError, MissingDataError

Split: TypeAlias = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Sample:
    """The files of one pair; nothing is opened.

    Attributes:
        category: The object, for example ``bagel``.
        split: ``train``, ``validation`` or ``test``.
        defect: The kind of defect; ``good`` where there is none.
        stem: The name that the files of the pair share.
        rgb: The RGB image.
        depth: The depth map or point cloud.
        masks: Masks whose union is the defect; none for most good samples.
        part: The foreground mask written by data preparation, where there is one.
        about_depth: Further files without which ``depth`` cannot be read.
    """

    category: str
    split: str
    defect: str
    stem: str
    rgb: Path
    depth: Path
    masks: tuple[Path, ...] = ()
    part: Path | None = None
    about_depth: tuple[Path, ...] = ()

    @property
    def is_anomalous(self) -> bool:
        """Whether the sample has a defect."""
        return self.defect != "good"

    @property
    def is_masked(self) -> bool:
        """Whether it is known which pixels are defective: none of a good image, or by a mask."""
        return bool(self.masks) or not self.is_anomalous

    def is_truth(self, mask: Tensor) -> bool:
        """Tell whether a mask ``(H, W)`` shows which pixels are defective.

        Without a file it does not, nor does an empty one of a defective image.
        """
        return self.is_masked and (not self.is_anomalous or bool(mask.any()))


class PairReader(Protocol):
    """A dataset of RGB/depth pairs on disk.

    Listing pairs files by stem, never by position, and opens no image; each ``read_*`` opens only
    the file its name says.
    """

    @property
    def root(self) -> Path:
        """The folder that holds the categories."""
        ...

    @property
    def rules(self) -> DepthRules:
        """How depth files are read."""
        ...

    def categories(self) -> list[str]:
        """Return every category found, sorted."""
        ...

    def samples(self, category: str, split: str) -> list[Sample]:
        """Return the samples of one split, sorted by defect and stem."""
        ...

    def read_rgb(self, sample: Sample) -> NDArray[np.uint8]:
        """Return the RGB image, ``(H, W, 3)``."""
        ...

    def read_stored(self, sample: Sample) -> NDArray[Any]:
        """Return depth ``(H, W)`` or points ``(H, W, 3)``, before :attr:`rules`."""
        ...

    def read_depth(self, sample: Sample) -> NDArray[np.float32]:
        """Return z along the optical axis, ``(H, W)``; NaN where nothing was read."""
        ...

    def read_mask(self, sample: Sample) -> NDArray[np.bool_]:
        """Return the union of the sample's masks, ``(H, W)``; all False without any."""
        ...

    def read_part(self, sample: Sample) -> NDArray[np.bool_] | None:
        """Return the prepared foreground mask, ``(H, W)``, or None."""
        ...


class ImageBatch(NamedTuple):
    """Images of one domain.

    Attributes:
        image: ``(n, 3, S, S)`` float32 in [0, 1], before the backbone's own normalisation.
        index: Position in the sorted split or among the shots, ``(n,)`` int64.
    """

    image: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index


class Truth(NamedTuple):
    """Ground truth of test images.

    Attributes:
        mask: Defective pixels, ``(n, S, S)`` bool.
        part: Pixels of the part, ``(n, S, S)`` bool.
        label: Whether the image has a defect, ``(n,)`` bool.
        masked: Whether ``mask`` is known; where it is not, it is all False, ``(n,)`` bool.
        misleading: Whether a score of the image's depth says nothing, ``(n,)`` bool.
        extent: Width over height, and how far its points reach or NaN, ``(n, 2)``.
        tiny: Whether its defect has less than the area of one pixel, ``(n,)`` bool.
        index: Position in the test samples, ``(n,)`` int64.
    """

    mask: Tensor
    part: Tensor
    label: Tensor
    masked: Tensor
    misleading: Tensor
    extent: Tensor
    tiny: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index


def check_names(category: str | Sequence[str]) -> str | list[str]:
    """Return what ``data.category`` says if it is a name or a list of different names.

    Raises:
        ConfigError: It is something else.
    """
    if isinstance(category, str):
        return category
    if not isinstance(category, Sequence) or not all(isinstance(name, str) for name in category):
        raise ConfigError(
            f"data.category: expected a name, a list of names or all, got {category!r}"
        )
    if not category or len(set(category)) < len(category):
        raise ConfigError(f"data.category: expected different names, got {list(category)}")
    return list(category)


def check_category(category: str, known: list[str], name: str = "data.category") -> str:
    """Return ``category`` if the dataset has it; ``name`` is what the user calls the setting.

    Raises:
        ConfigError: It has not.
    """
    if category not in known:
        raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {category!r}")
    return category


def check_split(split: str) -> str:
    """Return ``split`` if it is one of the three.

    Raises:
        ConfigError: It is not.
    """
    if split not in get_args(Split):
        names = ", ".join(get_args(Split))
        raise ConfigError(f"split: expected one of {names}, got {split!r}")
    return split


def check_root(root: Path) -> Path:
    """Return ``root`` if it is a folder.

    Raises:
        MissingDataError: It is not.
    """
    if not root.is_dir():
        raise MissingDataError(
            f"{root}: expected the dataset's folder, got no such folder. Set data.root to it."
        )
    return root


def check_partners(
    folder: Path, wanted: dict[str, Path], found: dict[str, Path], names: tuple[str, str]
) -> None:
    """Refuse files whose partner is missing.

    Args:
        folder: The folder both patterns start from.
        wanted: The files that need a partner, by stem.
        found: The partners there are, by stem.
        names: The patterns of both, with ``*`` for the stem, for example
            ``("rgb/*.png", "xyz/*.tiff")``.

    Raises:
        MissingDataError: A partner is missing.
    """
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        file, partner = names
        raise MissingDataError(
            f"{folder}: expected {partner} for every {file}, "
            f"got {len(wanted) - len(missing)} for {len(wanted)} "
            f"(no {partner.replace('*', missing[0])})"
        )
