"""KolektorSDD, surfaces of commutators, as distributed."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from fsad.data.images import read_mask
from fsad.data.photographs.held_out import held_out
from fsad.data.photographs.reader import MASKS, Files, ListedImages, PhotographReader
from fsad.errors import MissingDataError

CATEGORY = "kolektorsdd"
LABEL = "_label.bmp"


class KolektorSDD(PhotographReader):
    """Reads ``kosNN/PartM.jpg`` with ``kosNN/PartM_label.bmp``.

    There is one category. An image is defective if its label marks a pixel: to list them all labels
    are opened, once. There is no published split into normal training images and the rest: a
    quarter of the good images is tested, see :func:`~fsad.data.photographs.held_out.held_out`, so
    that surfaces of one commutator may be in both.

    Args:
        root: The folder that holds ``kos01``, ...

    Source:
        Tabernik et al., Segmentation-based deep-learning approach for surface-defect detection,
        JIM 2019; the split is that of open-set protocols (Pang et al., DevNet; Ding et al., DRA).
    """

    layout: ClassVar[str] = "kolektorsdd"
    mark: ClassVar[str] = "kos*"
    split_folders: ClassVar[Mapping[str, str]] = {"train": "", "validation": "", "test": ""}
    remedy: ClassVar[str] = "Set data.root to the folder that holds kos01/, ..."

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Tell whether a folder has this layout."""
        return any(root.glob(f"kos*/Part*{LABEL}"))

    def found(self) -> list[str]:
        """Return the one category, if the layout is there."""
        return [CATEGORY] if self.recognises(self.root) else []

    def listed(self, category: str, split: str) -> Iterator[ListedImages]:  # noqa: ARG002
        """List the images of one split, defect by defect.

        Raises:
            MissingDataError: An image has no label.
        """
        images: Files = {}
        masks: Files = {}
        for path in sorted(self.root.glob("kos*/Part*.jpg")):
            stem = f"{path.parent.name}_{path.stem}"
            label = path.with_name(path.stem + LABEL)
            if not label.is_file():
                raise MissingDataError(
                    f"{label}: expected a label beside {path.name}, which tells whether it is "
                    "good, got none"
                )
            images[stem], masks[stem] = path, label
        for label in sorted(self.root.glob(f"kos*/Part*{LABEL}")):
            if label not in masks.values():
                raise MissingDataError(f"{label}: expected its image beside it, got none")
        defective = [stem for stem, mask in masks.items() if _marks(mask, mask.stat().st_mtime_ns)]
        training, tested = held_out([stem for stem in images if stem not in set(defective)])
        if split == "train":
            yield _part("good", training, images, masks)
        if split == "test":
            yield _part("defect", defective, images, masks)
            yield _part("good", tested, images, masks)


def _part(defect: str, stems: list[str], images: Files, masks: Files) -> ListedImages:
    return ListedImages(
        defect,
        {"rgb": {stem: images[stem] for stem in stems}},
        {"rgb": "kosNN/*.jpg", MASKS: f"kosNN/*{LABEL}"},
        {stem: masks[stem] for stem in stems if defect != "good"},
    )


@lru_cache(maxsize=2**12)
def _marks(path: Path, modified: int) -> bool:  # noqa: ARG001 (it is part of the key)
    """Tell whether a label marks a defect; of each file once, since every listing asks."""
    return bool(read_mask(path).any())
