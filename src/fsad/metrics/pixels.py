"""What is known about the pixels of a batch, found once for all of its scored sets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fsad.metrics.counts import Floats, Ints
from fsad.metrics.masks import number_regions

REGION = 1 << 40
"""What a region weighs; its pixels weigh a whole number, so that sums do not depend on order."""


@dataclass(frozen=True)
class Pixels:
    """The ground truth of a batch's ``p`` pixels, ``a`` of which are anomalous.

    Attributes:
        on_part: Whether a pixel lies on the part, ``(p,)``, int32, 0 or 1.
        anomalous: Where the anomalous pixels are, ``(a,)``, int64.
        weights: ``REGION`` over the size of an anomalous pixel's region, rounded, ``(a,)``,
            float64.
        largest: Pixels of the largest region.
    """

    on_part: Ints
    anomalous: NDArray[np.int64]
    weights: Floats
    largest: int

    @classmethod
    def of(cls, masks: Tensor, parts: Tensor) -> "Pixels":
        """Describe the pixels of a batch.

        Args:
            masks: Ground truth, ``(n, H, W)``, bool, on the CPU.
            parts: Where the part is, ``(n, H, W)``, bool, on the CPU.

        Raises:
            ShapeError: ``masks`` is not ``(n, H, W)``.
            DataError: ``masks`` is not bool.
        """
        regions = number_regions(masks).numpy().ravel()
        (anomalous,) = regions.nonzero()
        region = regions[anomalous]
        sizes = np.bincount(region)
        weights = np.rint(REGION / np.maximum(sizes, 1))
        return cls(
            on_part=parts.numpy().ravel().astype(np.int32),
            anomalous=anomalous,
            weights=weights[region],
            largest=int(sizes.max(initial=0)),
        )
