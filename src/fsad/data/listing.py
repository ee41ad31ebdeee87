"""What lies in a dataset's folders: its categories, and a folder's files by stem."""

import re
from collections.abc import Iterable
from pathlib import Path


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


def by_stem(folder: Path, pattern: str) -> dict[str, Path]:
    """Return a folder's files by what ``*`` stands for.

    Some archives carry hidden doubles of every file (``._000.png``); they are none of the
    dataset's.

    Args:
        folder: Where ``pattern`` starts from.
        pattern: For example ``rgb/*.png``, or ``*_mask.png`` where the stem is a number: then
            ``00_bumps_mask.png`` is another kind of file.
    """
    before, after = pattern.rsplit("/", 1) if "/" in pattern else ("", pattern)
    stem = r"(\d+)" if after.startswith("*_") else r"([^.].*)"
    name = re.compile(stem + re.escape(after[1:]))
    matches = ((name.fullmatch(path.name), path) for path in (folder / before).glob(after))
    return {match[1]: path for match, path in matches if match}
