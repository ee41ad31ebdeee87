"""What lies in a dataset's folders, whole or not: the walk behind ``fsad data check``.

The readers stop at the first file without a partner; this walk lists everything by stem.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from fsad.data import eyecandies, mvtec3d
from fsad.data.listing import by_stem, left_out
from fsad.data.pairs import Sample, Split
from fsad.data.record import PREPARED
from fsad.errors import DataError

Files = dict[str, dict[str, Path]]  # kind of file -> stem -> path


@dataclass(frozen=True)
class Folder:
    """The images of one kind of defect in one split.

    Attributes:
        category: The object.
        split: ``train``, ``validation`` or ``test``.
        defect: ``good``, a kind of defect, or ``unknown`` where that could not be read.
        patterns: For each kind of file its name, ``*`` for the stem.
        needed: The kinds of which every stem must have one.
        files: What is there.
        left_out: Files beside them that are none of these kinds.
    """

    category: str
    split: str
    defect: str
    patterns: dict[str, str]
    needed: tuple[str, ...]
    files: Files
    left_out: tuple[Path, ...] = ()

    @property
    def place(self) -> str:
        """The folder's name in tables and messages."""
        return f"{self.category}/{self.split}/{self.defect}"

    @property
    def stems(self) -> list[str]:
        """Every stem that any file has, sorted."""
        return sorted(set().union(*self.files.values()))

    def missing(self, kind: str) -> list[str]:
        """Return the stems without a file of a kind."""
        return [stem for stem in self.stems if stem not in self.files[kind]]

    def can_read(self, kind: str, stem: str) -> bool:
        """Tell whether a kind of image, and the range without which depth has no unit, is there."""
        with_it = ("depth", "range") if kind == "depth" and "range" in self.files else (kind,)
        return all(stem in self.files.get(name, {}) for name in with_it)

    def sample(self, stem: str) -> Sample:
        """Return a stem's files as the readers take them; a missing one as where it should be."""
        mask = self.files["gt"].get(stem)
        return Sample(
            category=self.category,
            split=self.split,
            defect=self.defect,
            stem=stem,
            rgb=self.files["rgb"].get(stem, Path(self.patterns["rgb"].replace("*", stem))),
            depth=self.files["depth"].get(stem, Path(self.patterns["depth"].replace("*", stem))),
            masks=() if mask is None else (mask,),
            part=self.files.get("part", {}).get(stem),
        )


def mvtec3d_folders(root: Path, category: str, problems: list[str]) -> Iterator[Folder]:
    """Walk a category in MVTec 3D-AD's layout; doubled files are added to ``problems``."""
    prepared = (root / PREPARED).exists()
    names = {"rgb": mvtec3d.RGB, "depth": mvtec3d.XYZ, "gt": mvtec3d.GT}
    names |= {"part": mvtec3d.PART} if prepared else {}
    for split in get_args(Split):
        for folder in sorted((root / category / split).glob("*/")):
            patterns = mvtec3d.patterns_in(folder)
            yield Folder(
                category=category,
                split=split,
                defect=folder.name,
                patterns=names,
                needed=tuple(kind for kind in names if kind != "gt"),
                files={kind: _by_stem(folder, problems, *patterns[kind]) for kind in names},
                left_out=tuple(_left_out(folder, patterns)),
            )


def _left_out(folder: Path, patterns: dict[str, tuple[str, ...]]) -> list[Path]:
    """Return the files that a run does not read, a second folder of depth among them."""
    read = [pattern for names in patterns.values() for pattern in names]
    unread = sorted(path for path in (folder / "depth").glob("*") if not path.is_dir())
    return left_out(folder, *read) + ([] if "depth/*.png" in read else unread)


def _by_stem(folder: Path, problems: list[str], *patterns: str) -> dict[str, Path]:
    try:
        return by_stem(folder, *patterns)
    except DataError as error:
        problems.append(str(error))
        return {}


def eyecandies_folders(
    root: Path, category: str, light: int, problems: list[str]
) -> Iterator[Folder]:
    """Walk a category of Eyecandies; what cannot be read or is doubled joins ``problems``."""
    patterns = {
        "rgb": f"*_image_{light}.png",
        "depth": eyecandies.DEPTH,
        "range": eyecandies.RANGE,
        "labels": eyecandies.LABELS,
        "gt": eyecandies.MASK,
    }
    for split, name in eyecandies.FOLDERS.items():
        files = {
            kind: _by_stem(root / category / name / "data", problems, pattern)
            for kind, pattern in patterns.items()
        }
        defects: dict[str, str] = {}
        for stem in set().union(*files.values()):
            defects[stem] = _defect(files["labels"].get(stem), problems)
        for defect in sorted(set(defects.values())):
            yield Folder(
                category=category,
                split=split,
                defect=defect,
                patterns=patterns,
                needed=tuple(kind for kind in patterns if kind != "gt"),
                files={
                    kind: {s: path for s, path in paths.items() if defects[s] == defect}
                    for kind, paths in files.items()
                },
            )


def _defect(labels: Path | None, problems: list[str]) -> str:
    if labels is None:
        return "unknown"
    try:
        return eyecandies.read_defect(labels)
    except DataError as error:
        problems.append(str(error))
        return "unknown"
