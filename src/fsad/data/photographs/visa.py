"""VisA as distributed: images apart from their split, which a table tells."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from fsad.data.photographs.reader import MASKS, Files, ListedImages, PhotographReader
from fsad.errors import DataError, MissingDataError
from fsad.storage.regular import refuse_irregular

TABLE = "split_csv/1cls.csv"
"""The split into normal training images and test images of both kinds, for one class at a time."""
COLUMNS = ("object", "split", "label", "image", "mask")
DEFECTS = {"normal": "good", "anomaly": "anomaly"}


class VisA(PhotographReader):
    """Reads ``<category>/Data/Images/{Normal,Anomaly}/*.JPG`` as ``split_csv/1cls.csv`` says.

    The table's paths start from the data set's folder. Masks number kinds of defects from 1, so
    that they look black. Which kinds there are is not told by the split: all are ``anomaly``.

    Args:
        root: The folder that holds the categories and ``split_csv``.

    Source:
        Zou et al., SPot-the-Difference, ECCV 2022.
    """

    layout: ClassVar[str] = "visa"
    mark: ClassVar[str] = "Images"
    split_folders: ClassVar[Mapping[str, str]] = {
        "train": "Data",
        "validation": "Data",
        "test": "Data",
    }
    remedy: ClassVar[str] = "Set data.root to the folder that holds candle/, ..., and split_csv/."

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Tell whether a folder has this layout."""
        return any(root.glob("*/Data/Images"))

    def listed(self, category: str, split: str) -> Iterator[ListedImages]:
        """List the images of one split, defect by defect, sorted.

        Raises:
            MissingDataError: The table is not there, or an image that it names.
            DataError: It cannot be read.
        """
        images: dict[str, Files] = defaultdict(dict)
        masks: dict[str, Files] = defaultdict(dict)
        for row in self._rows():
            if (row["object"], row["split"]) != (category, split):
                continue
            defect, path = DEFECTS[row["label"]], self._named(row["image"])
            images[defect][path.stem] = path
            if row["mask"]:
                masks[defect][path.stem] = self._named(row["mask"])
        for defect in sorted(images):
            folder = "Normal" if defect == "good" else "Anomaly"
            yield ListedImages(
                defect,
                {"rgb": images[defect]},
                {"rgb": f"Data/Images/{folder}/*.JPG", MASKS: f"Data/Masks/{folder}/*.png"},
                masks[defect],
            )

    def _named(self, place: str) -> Path:
        """Return a file that the table names.

        Raises:
            MissingDataError: It is not there, or not in the data set's folder.
        """
        path = self.root / place
        if Path(place).is_absolute() or ".." in Path(place).parts or not path.is_file():
            raise MissingDataError(
                f"{path}: expected a file of the data set that {TABLE} names, got none. Unpack the "
                "data set again."
            )
        return path

    def _rows(self) -> list[dict[str, str]]:
        path = self.root / TABLE
        if not path.is_file():
            raise MissingDataError(
                f"{path}: expected the table of VisA's split, got none. It comes with the data set."
            )
        try:
            refuse_irregular(path)
            with path.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                rows = list(reader)
                if set(COLUMNS) - set(reader.fieldnames or ()):
                    raise ValueError(f"the columns {', '.join(reader.fieldnames or ())}")
                (image, count), *_ = Counter(row["image"] for row in rows).most_common(1)
                if count > 1:
                    raise ValueError(f"{image} in {count} rows")
                for row in rows:
                    if row["label"] not in DEFECTS or None in row.values():
                        raise ValueError(f"a row of {list(row.values())}")
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(
                f"{path}: expected a table of {', '.join(COLUMNS)}, got '{error}'. Unpack the data "
                "set again."
            ) from error
        return rows
