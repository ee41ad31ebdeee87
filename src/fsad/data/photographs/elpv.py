"""ELPV, electroluminescence images of solar cells: a folder, or the package that brings them."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from fsad.data.depth_rules import DepthRules
from fsad.data.photographs.held_out import held_out
from fsad.data.photographs.reader import MASKS, ListedImages, PhotographReader
from fsad.errors import DataError, PackageError, check_choice, check_fraction, check_positive
from fsad.storage.regular import refuse_irregular

CATEGORY = "elpv"
TABLE = "labels.csv"
PACKAGE = "package"
"""In place of a folder: the installed package's. A folder of that name is ``./package``."""
CELLS = ("all", "mono", "poly")


class ELPV(PhotographReader):
    """Reads ``labels.csv`` and ``images/cellNNNN.png``, 2,624 grey images of 300 x 300 pixels.

    Each has a probability of being defective, by experts, of 0, 1/3, 2/3 or 1, and no mask. Those
    of 0 are good; those of :attr:`defect_from` on are defective, of a kind called as their cells,
    ``mono`` or ``poly``; what is between is left out. At 1 that gives the 1,508 good and 715
    defective images of published tables. A quarter of the good ones is tested, see
    :func:`~fsad.data.photographs.held_out.held_out`.

    Args:
        root: The folder that holds ``labels.csv``; the word ``package``: that of the installed
            ``elpv-dataset``. A path, such as ``./package``, is always the folder there.
        rules: None is needed.
        cells: ``mono`` or ``poly`` crystalline ones alone, or ``all``.
        defect_from: Probability from which an image is defective, above 0, at most 1.

    Raises:
        ConfigError: An argument is out of range.
        PackageError: ``elpv-dataset`` is not installed.

    Source:
        Buerhop-Lutz et al. 2018; Deitsch et al., Automatic classification of defective photovoltaic
        module cells, Solar Energy 2019.
    """

    layout: ClassVar[str] = "elpv"
    mark: ClassVar[str] = TABLE
    split_folders: ClassVar[Mapping[str, str]] = {"train": "", "validation": "", "test": ""}
    remedy: ClassVar[str] = (
        "Set data.root to the folder that holds labels.csv and images/, or to package."
    )

    def __init__(
        self,
        root: str | Path,
        rules: DepthRules | None = None,
        *,
        cells: str = "all",
        defect_from: float = 1.0,
    ) -> None:
        super().__init__(self.place(root), rules)
        self.cells = check_choice("data.reader.cells", cells, CELLS)
        name = "data.reader.defect_from"
        self.defect_from = check_positive(name, check_fraction(name, defect_from))

    @classmethod
    def place(cls, root: str | Path) -> Path:
        """Return the folder, that of the installed package for the word ``package``.

        Raises:
            PackageError: It is not installed.
        """
        return _package_folder() if root == PACKAGE else Path(root)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Tell whether a folder has this layout."""
        return (root / TABLE).is_file() and any(root.glob("images/cell*.png"))

    def found(self) -> list[str]:
        """Return the one category, if the layout is there."""
        return [CATEGORY] if (self.root / TABLE).is_file() else []

    def listed(self, category: str, split: str) -> Iterator[ListedImages]:  # noqa: ARG002
        """List the images of one split, kind by kind.

        Raises:
            DataError: The table cannot be read.
        """
        rows = [row for row in self._rows() if self.cells in ("all", row[2])]
        training, tested = held_out([path for path, chance, _ in rows if chance == 0])
        if split == "train":
            yield _listed("good", training)
        if split == "test":
            yield _listed("good", tested)
            for kind in CELLS[1:]:
                defective = [
                    path
                    for path, chance, cell in rows
                    if cell == kind and chance >= self.defect_from - 1e-6
                ]
                if defective:
                    yield _listed(kind, defective)

    def _rows(self) -> list[tuple[Path, float, str]]:
        """Return path, probability and kind of cell of each image, in the table's order."""
        path = self.root / TABLE
        try:
            refuse_irregular(path)
            rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
            rows = [row for row in rows if row]
            table = [(self.root / name, float(chance), cell) for name, chance, cell in rows]
            if odd := [row for row in table if not 0 <= row[1] <= 1 or row[2] not in CELLS]:
                raise ValueError(f"{odd[0][1]:g} {odd[0][2]}")
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: expected lines of an image, a probability and mono or poly, got "
                f"'{' '.join(str(error).split())}'. Take the file that came with the images."
            ) from error
        return table


def _listed(defect: str, paths: list[Path]) -> ListedImages:
    images = {"rgb": {path.stem: path for path in paths}}
    return ListedImages(defect, images, {"rgb": "images/*.png", MASKS: "-"})


def _package_folder() -> Path:
    spec = find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise PackageError("elpv-dataset", "elpv")
    return Path(next(iter(spec.submodule_search_locations)), "data")
