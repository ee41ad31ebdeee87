"""The images of one kind of defect in one split, whole or not, as ``fsad data check`` sees them.

A reader's ``samples`` stops at the first file without a partner; its ``folders`` lists everything
by stem, so that one check can name all that is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fsad.data.listing import by_stem
from fsad.data.sample import Sample
from fsad.errors import DataError

Files = Mapping[str, Mapping[str, Path]]
"""Kind of file -> stem -> path."""


@dataclass(frozen=True)
class Folder:
    """The images of one kind of defect in one split.

    Attributes:
        category: The object.
        split: ``train``, ``validation`` or ``test``.
        defect: ``good``, a kind of defect, or ``unknown`` where that could not be read.
        patterns: For each kind of file its name, ``*`` for the stem.
        needed: The kinds of which every stem must have one.
        files: What is there: by modality, ``gt`` and ``part`` for masks, and other kinds that a
            modality cannot be read without.
        modalities: Which kinds of file are images.
        with_it: By modality, the kinds of file without which it cannot be read.
        left_out: Files beside them that are none of these kinds.
    """

    category: str
    split: str
    defect: str
    patterns: Mapping[str, str]
    needed: tuple[str, ...]
    files: Files
    modalities: tuple[str, ...]
    with_it: Mapping[str, tuple[str, ...]]
    left_out: tuple[Path, ...] = ()

    @property
    def place(self) -> str:
        """The folder's name in tables and messages."""
        return f"{self.category}/{self.split}/{self.defect}"

    @property
    def stems(self) -> list[str]:
        """Every stem that any file has, sorted."""
        return sorted({stem for files in self.files.values() for stem in files})

    def missing(self, kind: str) -> list[str]:
        """Return the stems without a file of a kind."""
        return [stem for stem in self.stems if stem not in self.files[kind]]

    def can_read(self, kind: str, stem: str) -> bool:
        """Tell whether a file of a kind is there, with all that it cannot be read without."""
        needed = (kind, *self.with_it.get(kind, ()))
        return all(stem in self.files.get(name, {}) for name in needed)

    def sample(self, stem: str) -> Sample:
        """Return a stem's files as the readers take them; a missing one as where it should be."""
        mask = self.files["gt"].get(stem)
        return Sample(
            category=self.category,
            split=self.split,
            defect=self.defect,
            stem=stem,
            files={
                name: self.files[name].get(stem, Path(self.patterns[name].replace("*", stem)))
                for name in self.modalities
            },
            masks=() if mask is None else (mask,),
            part=self.files.get("part", {}).get(stem),
        )


def list_files(folder: Path, problems: list[str], *patterns: str) -> dict[str, Path]:
    """Return a folder's files by stem; where two have the same, say so in ``problems`` instead."""
    try:
        return by_stem(folder, *patterns)
    except DataError as error:
        problems.append(str(error))
        return {}
