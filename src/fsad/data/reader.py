"""What the readers of both layouts share: the root, and how images become numbers."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsad.data.depth_file import read_size
from fsad.data.depth_rules import DepthRules
from fsad.data.images import check_size, read_mask, read_rgb
from fsad.data.pairs import Sample


class FolderReader(ABC):
    """Reads a dataset out of folders.

    Args:
        root: The folder that holds the categories.
        rules: How depth files are read.
    """

    def __init__(self, root: str | Path, rules: DepthRules | None = None) -> None:
        self._root = Path(root)
        self._rules = rules or DepthRules()

    @property
    def root(self) -> Path:
        """The folder that holds the categories."""
        return self._root

    @property
    def rules(self) -> DepthRules:
        """How depth files are read."""
        return self._rules

    @abstractmethod
    def read_stored(self, sample: Sample) -> NDArray[Any]:
        """Return depth ``(H, W)`` or points ``(H, W, 3)``, before :attr:`rules`."""

    def read_depth(self, sample: Sample) -> NDArray[np.float32]:
        """Return z, ``(H, W)``, in metres or the dataset's own unit; NaN where nothing was read.

        Raises:
            DataError: The file is unreadable, of another kind, or without a reading.
        """
        return self.rules.depth(self.read_stored(sample), str(sample.depth))

    def read_rgb(self, sample: Sample) -> NDArray[np.uint8]:
        """Return the RGB image, ``(H, W, 3)``.

        Raises:
            DataError: The file is unreadable or no 8-bit image.
        """
        return read_rgb(sample.rgb)

    def read_mask(self, sample: Sample) -> NDArray[np.bool_]:
        """Return the union of a sample's masks, ``(H, W)``; all False without any.

        Raises:
            DataError: A file is unreadable, or the masks' sizes differ.
        """
        if not sample.masks:
            return np.zeros(read_size(sample.depth), dtype=np.bool_)
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
