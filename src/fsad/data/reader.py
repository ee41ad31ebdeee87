"""How a data set on disk is read: what every reader offers, and what readers of folders share.

A new data set is one file with a subclass of :class:`FolderReader`, one file in ``conf/data`` that
names it, and a test.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fsad.data.depth_file import read_depth_file, read_size
from fsad.data.depth_rules import DepthRules
from fsad.data.folder import Folder
from fsad.data.images import SUFFIXES, check_size, photograph_size, read_mask, read_rgb
from fsad.data.listing import check_root, find_categories, unread_folders
from fsad.data.oddities import oddities
from fsad.data.sample import Sample
from fsad.errors import DataError, MissingDataError, check_choice


class DatasetReader(Protocol):
    """A data set on disk.

    Listing matches a sample's files by stem, never by position, and opens no image; each ``read*``
    opens only the files that it is named after.
    """

    @property
    def modalities(self) -> tuple[str, ...]:
        """In which modalities every sample was recorded: ``rgb``, ``depth``."""
        ...

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

    def read(self, sample: Sample, modality: str) -> NDArray[Any]:
        """Return a sample's image in one modality.

        Returns:
            For ``depth`` z along the optical axis, ``(H, W)`` float32, NaN where nothing was read;
            for any other a photograph, ``(H, W, 3)`` uint8.
        """
        ...

    def read_stored(self, sample: Sample) -> NDArray[Any]:
        """Return depth ``(H, W)`` or points ``(H, W, 3)``, before :attr:`rules`."""
        ...

    def read_mask(self, sample: Sample) -> NDArray[np.bool_]:
        """Return the union of the sample's masks, ``(H, W)``; all False without any."""
        ...

    def read_part(self, sample: Sample) -> NDArray[np.bool_] | None:
        """Return the prepared foreground mask, ``(H, W)``, or None."""
        ...


class FolderReader(ABC):
    """Reads a data set out of folders.

    A subclass says what its layout looks like and what is peculiar about its files; nothing else
    in the package asks which data set it is.

    Args:
        root: The folder that holds the categories.
        rules: How depth files are read.

    Attributes:
        layout: What the layout is called, as in ``--format``.
        mark: A folder that splits hold in this layout alone.
        split_folders: What the folders of train, validation and test are called.
        modalities: In which modalities every sample was recorded.
        unit: The unit of depth and points where :attr:`rules` name none, in words.
        plane_height: A point this near the ground belongs to it, in that unit, unless preparation
            is told otherwise.
        png_holes: Whether 0 in a depth png is a pixel without a reading.
        light: Which of several renderings is the photograph; None where there is one.
        remedy: What to do where the folder holds no category of this layout.
    """

    layout: ClassVar[str]
    mark: ClassVar[str]
    split_folders: ClassVar[Mapping[str, str]]
    modalities: tuple[str, ...] = ("rgb", "depth")
    unit: ClassVar[str] = "metre"
    plane_height: ClassVar[float] = 0.005
    png_holes: ClassVar[bool] = True
    light: int | None = None
    remedy: ClassVar[str] = "Set data.root to the folder that holds the categories."

    def __init__(self, root: str | Path, rules: DepthRules | None = None) -> None:
        self._root = Path(root)
        self._rules = rules or DepthRules()

    @classmethod
    def place(cls, root: str | Path) -> Path:
        """Return the folder that ``data.root`` means; nothing is opened, or made.

        Args:
            root: As the user wrote it: a word may stand for a folder, a path is itself.
        """
        return Path(root)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Tell whether a folder has this layout, by the names of its files and folders."""
        return any(root.glob(f"*/{cls.split_folders['train']}/{cls.mark}"))

    @classmethod
    def open(
        cls,
        root: Path,
        rules: DepthRules | None,
        light: int,  # noqa: ARG003
        cameras: Sequence[str],  # noqa: ARG003
    ) -> Self:
        """Return the reader with the options of the command line; each takes what it has."""
        return cls(root, rules)

    @property
    def root(self) -> Path:
        """The folder that holds the categories."""
        return self._root

    @property
    def rules(self) -> DepthRules:
        """How depth files are read."""
        return self._rules

    def found(self) -> list[str]:
        """Return every category found, whole or not, sorted; none if there is none."""
        return find_categories(self.root, self.split_folders.values(), self.mark)

    def categories(self) -> list[str]:
        """Return every category found, whole or not, sorted.

        Raises:
            MissingDataError: There is no such folder, or no category in it.
        """
        check_root(self.root)
        found = self.found()
        if not found:
            place = f"<category>/{self.split_folders['train']}/{self.mark}"
            if (self.root / self.split_folders["train"] / self.mark).is_dir():
                raise MissingDataError(
                    f"{self.root}: expected the folder that holds the categories, got a category. "
                    f"Say data.root={self.root.parent} data.category={self.root.name}."
                )
            raise MissingDataError(
                f"{self.root}: expected {place}, got no such folder. {self.remedy}"
            )
        return found

    @abstractmethod
    def samples(self, category: str, split: str) -> list[Sample]:
        """Return the samples of one split, sorted by defect and stem."""

    @abstractmethod
    def folders(self, category: str, problems: list[str]) -> Iterator[Folder]:
        """List a category's files, whole or not.

        Args:
            category: Its name.
            problems: Where to say what cannot be listed, one line each.
        """

    def read_folders(self, category: str) -> Iterable[Path]:  # noqa: ARG002
        """Return the folders of a category whose own files are read; here none is known."""
        return ()

    def unread(self, category: str) -> dict[str, int]:
        """Count the images of a category that lie too deep, or in hidden folders, to be read.

        Returns:
            How many there are, by the folder below the category's.
        """
        suffixes = (*SUFFIXES, ".npy")
        return unread_folders(self.root / category, self.read_folders(category), suffixes)

    def read(self, sample: Sample, modality: str) -> NDArray[Any]:
        """Return a sample's image in one modality.

        Returns:
            For ``depth`` z, ``(H, W)`` float32, in metres or the data set's own unit, NaN where
            nothing was read; for any other a photograph, ``(H, W, 3)`` uint8.

        Raises:
            ConfigError: The data set has no such modality.
            DataError: The file is unreadable, of another kind, or depth without a reading.
        """
        check_choice("modality", modality, self.modalities)
        path = sample.files[modality]
        if modality == "depth":
            return self.rules.depth(self.read_stored(sample), str(path))
        return read_rgb(path)

    def read_stored(self, sample: Sample) -> NDArray[Any]:
        """Return depth ``(H, W)`` or points ``(H, W, 3)`` as the file has them.

        Raises:
            DataError: The file is unreadable or of another kind.
        """
        return read_depth_file(sample.files["depth"])

    def read_points(self, sample: Sample) -> NDArray[np.float32]:
        """Return organised points, ``(H, W, 3)``, (0, 0, 0) where nothing was read.

        Raises:
            DataError: The file is unreadable, holds depth alone, or its points are in another
                order or unit, so that the ground cannot be found among them.
        """
        path, stored = sample.files["depth"], self.read_stored(sample)
        points = self.rules.points(stored, str(path))
        z = np.where((points != 0).any(axis=-1), points[..., 2], np.float32(np.nan))
        for oddity in oddities(stored, z, self.rules):
            if oddity.kind in ("order", "unit"):
                raise DataError(f"{path}: {oddity.problem}")
        return points

    def read_mask(self, sample: Sample) -> NDArray[np.bool_]:
        """Return the union of a sample's masks, ``(H, W)``; all False without any.

        Raises:
            DataError: A file is unreadable, or the masks' sizes differ.
        """
        if not sample.masks:
            return np.zeros(_size_of(sample), dtype=np.bool_)
        masks = [read_mask(path) for path in sample.masks]
        for path, mask in zip(sample.masks, masks, strict=True):
            check_size(path, mask.shape, sample.masks[0], masks[0].shape)
        return np.asarray(np.logical_or.reduce(masks))

    def read_part(self, sample: Sample) -> NDArray[np.bool_] | None:
        """Return the foreground mask of prepared data, ``(H, W)``, or None.

        Raises:
            DataError: The file is unreadable.
        """
        return None if sample.part is None else read_mask(sample.part)


def _size_of(sample: Sample) -> tuple[int, int]:
    """Return a sample's height and width, by a header."""
    depth = sample.files.get("depth")
    return read_size(depth) if depth else photograph_size(next(iter(sample.files.values())))
