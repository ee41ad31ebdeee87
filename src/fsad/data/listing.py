"""What lies in a dataset's folders: its categories, and a folder's files by stem."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fsad.errors import ConfigError, DataError, MissingDataError


def check_names(category: str | Sequence[str], setting: str = "data.category") -> str | list[str]:
    """Return a setting such as ``data.category`` if it is a name or a list of different names.

    Raises:
        ConfigError: It is something else.
    """
    if isinstance(category, str):
        return category
    if not isinstance(category, Sequence) or not all(isinstance(name, str) for name in category):
        raise ConfigError(f"{setting}: expected a name, a list of names or all, got {category!r}")
    if not category or len(set(category)) < len(category):
        raise ConfigError(f"{setting}: expected different names, got {list(category)}")
    return list(category)


def check_category(category: str, known: Sequence[str], name: str = "data.category") -> str:
    """Return ``category`` if the dataset has it; ``name`` is what the user calls the setting.

    Raises:
        ConfigError: It has not.
    """
    if category not in known:
        raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {category!r}")
    return category


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
    folder: Path, wanted: Mapping[str, Path], found: Mapping[str, Path], names: tuple[str, str]
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


def find_categories(root: Path, splits: Iterable[str], mark: str) -> list[str]:
    """Return every folder that has a split in it, sorted.

    One split is enough: a category that lost another is named when it is opened, whereas one left
    out here would be missing without a word.

    Args:
        root: The folder that holds the categories.
        splits: What the splits' folders are called in this layout.
        mark: A folder that splits hold in this layout alone; if none does, there is no category.
    """
    found = [path for split in splits for path in root.glob(f"*/{split}") if path.is_dir()]
    if not any((path / mark).is_dir() for path in found):
        return []
    return sorted({path.parent.name for path in found})


def by_stem(folder: Path, *patterns: str) -> dict[str, Path]:
    """Return a folder's files by what ``*`` stands for; the case of all else does not matter.

    Some archives carry hidden doubles of every file (``._000.png``); they are none of the
    dataset's.

    Args:
        folder: Where the patterns start from.
        patterns: For example ``rgb/*.png``, or ``*_mask.png`` where the stem is a number: then
            ``00_bumps_mask.png`` is another kind of file. A file may match any of them.

    Raises:
        DataError: Two files have the same stem.
    """
    files: dict[str, Path] = {}
    for place, names in _names(patterns).items():
        for path in _files(folder / place):
            match = next((m for name in names if (m := name.fullmatch(path.name))), None)
            if match is None:
                continue
            if match[1] in files:
                raise DataError(
                    f"{folder}: expected one file of each kind and name, got "
                    f"{files[match[1]].relative_to(folder)} and {path.relative_to(folder)}. "
                    "Delete one."
                )
            files[match[1]] = path
    return files


def holds_files(folder: Path) -> bool:
    """Tell whether any file lies below a folder, text and hidden ones left out.

    A split that is absent or empty has no images; one with files of which none was taken has images
    under names, or in places, that were not expected.
    """
    files = (path for path in folder.rglob("*") if path.is_file())
    return any(not path.name.startswith(".") and path.suffix != ".txt" for path in files)


def unread_folders(base: Path, read: Iterable[Path], suffixes: tuple[str, ...]) -> dict[str, int]:
    """Count the images in folders that look as if they were read, and are not.

    These are folders within one that is read, such as ``good/second_day/``, and hidden ones, such
    as notebooks leave.

    Args:
        base: Where to look, all the way down.
        read: The folders whose own files are read.
        suffixes: Of images, lower case.

    Returns:
        How many images each holds, by its path below ``base``, sorted.
    """
    known = {path.relative_to(base) for path in read}
    counts: dict[str, int] = {}
    for place, _, names in os.walk(base):
        folder = Path(place).relative_to(base)
        is_hidden = any(part.startswith(".") for part in folder.parts)
        if folder not in known and (is_hidden or not known.isdisjoint(folder.parents)):
            images = [name for name in names if name.lower().endswith(suffixes)]
            count = sum(not name.startswith(".") for name in images)
            counts |= {folder.as_posix(): count} if count else {}
    return dict(sorted(counts.items()))


def left_out(folder: Path, *patterns: str) -> list[Path]:
    """Return the files that lie where the patterns look and match none of them, sorted."""
    return [
        path
        for place, names in _names(patterns).items()
        for path in _files(folder / place)
        if not any(name.fullmatch(path.name) for name in names)
    ]


def _names(patterns: Iterable[str]) -> dict[str, list[re.Pattern[str]]]:
    """Turn patterns into what a file's name has to be, by the folder it lies in."""
    names: dict[str, list[re.Pattern[str]]] = {}
    for pattern in patterns:
        before, after = pattern.rsplit("/", 1) if "/" in pattern else ("", pattern)
        stem = r"(\d+)" if after.startswith("*_") else r"([^.].*)"
        name = re.compile(f"{stem}(?i:{re.escape(after[1:])})")
        names.setdefault(before, []).append(name)
    return names


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if not path.is_dir())
