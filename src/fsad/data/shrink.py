"""Making images smaller without losing what is small in them."""

from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Pixels = TypeVar("Pixels", bound=np.generic)
Size = int | tuple[int, int]
"""Of a result: its height and width, pixels; one number is both."""


def nearest_resize(pixels: NDArray[Pixels], size: Size) -> NDArray[Pixels]:
    """Resize by picking pixels.

    Output pixel i takes input pixel ``floor((i + 0.5) * H / S)``, the one its centre falls into,
    as Pillow's ``NEAREST`` does: results stay aligned with images that Pillow resizes.

    Args:
        pixels: ``(H, W)`` or ``(H, W, c)``.
        size: S, the sides of the result.

    Returns:
        ``(S, S)`` or ``(S, S, c)``, a copy.
    """
    height, width = pixels.shape[:2]
    rows, columns = _both(size)
    return np.asarray(pixels[_picked(height, rows)[:, None], _picked(width, columns)])


def mean_resize(z: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    r"""Resize a depth map to a square: a pixel is the mean of the readings below it.

    .. math:: z'_{ij} = \frac{\sum_{rc} A_{ir} B_{jc} v_{rc} z_{rc}}{\sum_{rc} A_{ir} B_{jc} v_{rc}}

    with A and B the shares of rows and columns that a pixel covers, and v 1 for a reading. An axis
    that grows picks pixels instead, as :func:`nearest_resize`.

    Laws (``tests/data/test_shrink.py``):

    * A map without holes keeps its mean.
    * A pit of any size changes the pixels above it by its depth times the share that it covers.
    * A hole takes no part: a pixel above readings and holes has the readings' mean.
    * Scaling and shifting z scales and shifts the result.

    Args:
        z: ``(H, W)``, NaN where there is no reading.
        size: S, the side of the result.

    Returns:
        ``(S, S)`` float32, NaN where a pixel covers no reading.
    """
    rows, columns = _covered(z.shape[0], size), _covered(z.shape[1], size)
    valid = np.isfinite(z)
    if not valid.any():
        return np.full((size, size), np.nan, np.float32)
    # Counted from the middle of the readings, so that float32 does not round the relief away.
    middle = np.float64(z[valid].mean())
    readings = np.where(valid, z - middle, 0.0)
    share = (columns @ (rows @ valid.astype(np.float64)).T).T
    total = (columns @ (rows @ readings).T).T
    covers = share > 1e-9
    return np.where(covers, total / np.where(covers, share, 1.0) + middle, np.nan).astype(
        np.float32
    )


def any_resize(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Resize a mask: a pixel is set where any pixel below it is.

    Each input pixel lies below one output pixel, the one its centre falls into. An axis that grows
    picks pixels instead, as :func:`nearest_resize`.

    Laws (``tests/data/test_shrink.py``):

    * A mask with a pixel set has one set at every size.
    * A mask of whole output pixels becomes these pixels.

    Args:
        mask: ``(H, W)``.
        size: S, the sides of the result.

    Returns:
        ``(S, S)``, a copy.
    """
    rows, columns = _both(size)
    return _any_rows(_any_rows(mask, rows).T, columns).T.copy()


def _both(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _any_rows(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    height = len(mask)
    if height <= size:
        return np.asarray(mask[_picked(height, size)])
    below = (2 * np.arange(height) + 1) * size // (2 * height)  # the output row of each input row
    first = np.searchsorted(below, np.arange(size))
    return np.logical_or.reduceat(mask, first, axis=0)


def _picked(length: int, size: int) -> NDArray[np.int64]:
    odd = 2 * np.arange(size) + 1  # whole numbers: exact at every size
    return np.asarray(odd * length // (2 * size))


@lru_cache(maxsize=8)
def _covered(length: int, size: int) -> csr_array:
    """Return how much of each input pixel an output pixel covers, ``(S, length)``."""
    if length <= size:
        return csr_array(np.eye(length)[_picked(length, size)])
    edges = np.arange(size + 1) * (length / size)
    start, end = edges[:-1, None], edges[1:, None]
    pixels = np.arange(length)
    covered: NDArray[np.float64] = np.clip(
        np.minimum(end, pixels + 1) - np.maximum(start, pixels), 0, 1
    )
    return csr_array(covered)
