"""Which connected regions of a mask are the part, and which are noise or scenery."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MATTERS = 0.005  # a region counts from this share of the image on, ...
BESIDE = 0.05  # ... and from this share of the largest region on; what is smaller is noise
EIGHT = np.ones((3, 3), np.bool_)  # diagonal neighbours touch


def large_regions(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the regions that matter.

    What touches the image's edge is scenery (Eyecandies' walls) unless nothing else is large.

    Args:
        mask: ``(H, W)``.

    Returns:
        ``(H, W)``; all false where no region is large.
    """
    labels, _ = ndimage.label(mask, EIGHT)
    area = np.bincount(labels.ravel())
    area[0] = 0  # label 0 is the background
    area[area < MATTERS * mask.size] = 0
    inside = area.copy()
    inside[labels[[0, -1]]] = 0
    inside[labels[:, [0, -1]]] = 0
    area = inside if inside.any() else area
    kept: NDArray[np.bool_] = ((area > 0) & (area >= BESIDE * area.max()))[labels]
    return kept
