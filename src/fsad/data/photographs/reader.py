"""What readers of photographs share: from lists of image files and masks to samples."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, get_args

from fsad.data.folder import Folder
from fsad.data.images import SUFFIXES
from fsad.data.listing import check_category, holds_files
from fsad.data.reader import FolderReader
from fsad.data.sample import Sample, Split, check_split
from fsad.errors import DataError, MissingDataError

MASK = "_mask"
"""What may stand between a mask's stem and its suffix."""
MASKS = "gt"
"""What masks are called among the kinds of files."""
Files = dict[str, Path]
"""By stem."""


@dataclass(frozen=True)
class ListedImages:
    """The images of one kind of defect in one split.

    Attributes:
        defect: ``good``, or the kind of defect.
        images: By modality, then by stem.
        patterns: What an image's file is called by modality, ``*`` for the stem, and a mask's under
            ``gt``.
        masks: By the stem of their image.
        left_out: Files beside them that are no images.
        doubled: Files whose stem another has too, one sentence each.
    """

    defect: str
    images: Mapping[str, Files]
    patterns: Mapping[str, str]
    masks: Files = field(default_factory=dict)
    left_out: tuple[Path, ...] = ()
    doubled: tuple[str, ...] = ()

    @property
    def stems(self) -> list[str]:
        """Every stem that an image or a mask has, sorted."""
        return sorted({stem for files in (*self.images.values(), self.masks) for stem in files})


class PhotographReader(FolderReader):
    """Reads photographs of one modality or several; a subclass lists them.

    Listing opens no image. A mask without its image is refused, and so is an image that one of the
    modalities lacks; an image without a mask is not: of a good one nothing is defective, and of a
    defective one it is not known what is.
    """

    modalities: tuple[str, ...] = ("rgb",)

    @abstractmethod
    def listed(self, category: str, split: str) -> Iterator[ListedImages]:
        """List the images of one split, defect by defect, sorted.

        Args:
            category: One of those found.
            split: ``train``, ``validation`` or ``test``.
        """

    def expected_in(self, split: str) -> str:
        """Say where in a split's folder images are looked for."""
        if split == "train":
            return f"{self.mark}/, {', '.join(SUFFIXES)}"
        return f"{{{self.mark},<defect>}}/"

    def samples(self, category: str, split: str) -> list[Sample]:
        """Return the samples of one split, sorted by defect and stem.

        Raises:
            ConfigError: The category or split is unknown.
            MissingDataError: There are no training images, a file has no partner, or none of a
                test's files is an image.
            DataError: Two files have the same stem.
        """
        check_category(category, self.categories())
        samples = [
            sample
            for listed in self.listed(category, check_split(split))
            for sample in self._samples(category, split, listed)
        ]
        if not samples:
            self._refuse_none(self.root / category / self.split_folders[split], split)
        return samples

    def folders(self, category: str, problems: list[str]) -> Iterator[Folder]:
        """List a category's files, whole or not; what is doubled joins ``problems``."""
        for split in get_args(Split):
            for listed in self.listed(category, split):
                problems += listed.doubled
                yield Folder(
                    category=category,
                    split=split,
                    defect=listed.defect,
                    patterns=listed.patterns,
                    needed=self.modalities,
                    files={**listed.images, MASKS: listed.masks},
                    modalities=self.modalities,
                    with_it={},
                    left_out=listed.left_out,
                )

    def _samples(self, category: str, split: str, listed: ListedImages) -> Iterator[Sample]:
        for doubled in listed.doubled:
            raise DataError(doubled)
        for modality, images in listed.images.items():
            for stem in listed.stems:
                if stem not in images:
                    place = Path(category, split, listed.defect)
                    raise self._no_image(place, listed, modality, stem)
        for stem in listed.stems:
            yield Sample(
                category=category,
                split=split,
                defect=listed.defect,
                stem=stem,
                files={modality: images[stem] for modality, images in listed.images.items()},
                masks=(listed.masks[stem],) if stem in listed.masks else (),
            )

    def _no_image(
        self, place: Path, listed: ListedImages, modality: str, stem: str
    ) -> MissingDataError:
        """Say that an image is missing; of one modality alone only a mask can ask for it."""
        if len(self.modalities) > 1:
            return MissingDataError(
                f"{self.root / place}: expected {modality}/{stem} beside the other cameras' image "
                "or its mask, got none"
            )
        return MissingDataError(
            f"{listed.masks[stem]}: expected an image for every mask, got none for it in "
            f"{place.as_posix()}. Add the image, or delete the mask."
        )

    def _refuse_none(self, folder: Path, split: str) -> None:
        """Refuse a split without images where a run needs some, or would not see what is there."""
        place = self.expected_in(split)
        if split == "train":
            inside = self.modalities == ("rgb",) and any(folder.glob(f"{self.mark}/rgb/*"))
            hint = " Pairs of RGB and depth need data=mvtec3d." if inside else ""
            raise MissingDataError(f"{folder}: expected images in {place}, got none.{hint}")
        if split == "test" and holds_files(folder):
            raise MissingDataError(
                f"{folder}: expected images in {place}, got other files alone. Lay the images out "
                "so, or take the folder away to train without test images."
            )


class SplitFolders(PhotographReader):
    """``<category>/{train,test}/<defect>/*``, masks in ``<category>/ground_truth/<defect>``.

    A mask has its image's stem, with or without ``_mask`` behind it. Suffixes may be upper case.

    Attributes:
        mark: What the folder of good images is called.
    """

    mark: ClassVar[str] = "good"
    split_folders: ClassVar[Mapping[str, str]] = {name: name for name in get_args(Split)}
    ground_truth: ClassVar[str] = "ground_truth"

    def read_folders(self, category: str) -> Iterable[Path]:
        """Return the folders of a category whose own files are read."""
        for name in (*self.split_folders.values(), self.ground_truth):
            yield from folders_in(self.root / category / name)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Tell whether a folder has this layout: images lie in the folder of good ones itself."""
        return any(is_image(path) for path in root.glob(f"*/train/{cls.mark}/*"))

    def listed(self, category: str, split: str) -> Iterator[ListedImages]:
        """List the images of one split, defect by defect, sorted."""
        base = self.root / category
        for folder in folders_in(base / self.split_folders[split]):
            truth = base / self.ground_truth / folder.name
            images, masks = files_in(folder), files_in(truth, without_mask)
            is_tested = split == "test" and folder.name != self.mark
            yield ListedImages(
                defect="good" if folder.name == self.mark else folder.name,
                images={self.modalities[0]: images.files},
                patterns={
                    self.modalities[0]: f"{folder.name}/*.png",
                    MASKS: f"{self.ground_truth}/{folder.name}/*{MASK}.png",
                },
                masks=masks.files if is_tested else {},
                left_out=(*images.others, *(masks.others if is_tested else ())),
                doubled=(*images.doubled, *(masks.doubled if is_tested else ())),
            )


@dataclass(frozen=True)
class FilesIn:
    """What lies in a folder itself.

    Attributes:
        files: Images by stem.
        others: What is no image; hidden files are left out.
        doubled: Files whose stem another has too, one sentence each.
    """

    files: Files
    others: tuple[Path, ...]
    doubled: tuple[str, ...]


def folders_in(folder: Path) -> list[Path]:
    """Return the folders within one, sorted; hidden ones, as notebooks leave, are left out."""
    return sorted(path for path in folder.glob("*/") if not path.name.startswith("."))


def is_image(path: Path) -> bool:
    """Tell by its name whether a file is an image; hidden ones, as archives carry, are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def without_mask(path: Path) -> str:
    """Return the stem of the image that a mask is of."""
    return path.stem.removesuffix(MASK)


def files_in(folder: Path, stem_of: Callable[[Path], str] = lambda path: path.stem) -> FilesIn:
    """List the images that lie in a folder itself.

    Args:
        folder: Which; one that is not there has none.
        stem_of: What an image is called.
    """
    files: Files = {}
    others, doubled = [], []
    for path in sorted(folder.glob("*")):
        if path.is_dir() or path.name.startswith("."):
            continue
        if not is_image(path):
            others.append(path)
        elif stem_of(path) in files:
            doubled.append(
                f"{folder}: expected one file of each name, got {files[stem_of(path)].name} and "
                f"{path.name}. Delete one."
            )
        else:
            files[stem_of(path)] = path
    return FilesIn(files, tuple(others), tuple(doubled))
