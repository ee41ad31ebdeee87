"""Images that lie in a data set and are not read, said in one line a category."""

from collections.abc import Sequence

from fsad.data.inspect.faults import listed
from fsad.data.reader import DatasetReader, FolderReader


def unread_lines(reader: DatasetReader, categories: Sequence[str]) -> list[str]:
    """Name the folders too deep, or hidden, whose images are not read; mostly none.

    Args:
        reader: The data set; only one of folders can have such.
        categories: Which of its categories.

    Returns:
        One line for each category that has some.
    """
    if not isinstance(reader, FolderReader):
        return []
    lines = []
    for category in categories:
        counts = reader.unread(category)
        if counts:
            total = sum(counts.values())
            folders = listed([f"{folder} ({count})" for folder, count in counts.items()])
            lines.append(
                f"{category}: {total} image{'' if total == 1 else 's'} in nested or hidden folders "
                f"not read: {folders}. Move them up to where the others are to have them read"
            )
    return lines
