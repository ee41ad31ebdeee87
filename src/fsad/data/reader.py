"""What the readers of both layouts share: the root, and images that are plain png files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsad.data.images import read_mask_png, read_masks, read_rgb_png
from fsad.data.pairs import Sample


class FolderReader:
    """Reads a dataset out of folders.

    Args:
        root: The folder that holds the categories.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)

    @property
    def root(self) -> Path:
        """The folder that holds the categories."""
        return self._root

    def read_rgb(self, sample: Sample) -> NDArray[np.uint8]:
        """Return the RGB image, ``(H, W, 3)``.

        Raises:
            DataError: The file is unreadable or no RGB image.
        """
        return read_rgb_png(sample.rgb)

    def read_mask(self, sample: Sample) -> NDArray[np.bool_]:
        """Return the defective pixels, ``(H, W)``; all False without a mask.

        Raises:
            DataError: A file is unreadable or no mask.
        """
        return read_masks(sample)

    def read_part(self, sample: Sample) -> NDArray[np.bool_] | None:
        """Return the foreground mask of prepared data, ``(H, W)``, or None.

        Raises:
            DataError: The file is unreadable or no mask.
        """
        return None if sample.part is None else read_mask_png(sample.part)
