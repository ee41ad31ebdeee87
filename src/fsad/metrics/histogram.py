"""AUROC and AU-PRO of pixels from a histogram: bounded memory, with a bound on the error."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsad.errors import RunError, check_shape
from fsad.metrics import Measured
from fsad.metrics.bins import BINS, AdaptiveBins, keys_of
from fsad.metrics.counts import Counts, Floats, Ints, look_up
from fsad.metrics.pixels import REGION, Pixels
from fsad.metrics.pro import area_to
from fsad.metrics.top import TopBins

_UNSEEN, _SEVERAL = np.int32(-(1 << 31)), np.int32((1 << 31) - 1)  # keys of no finite score


class ScoreHistogram:
    r"""Counts the pixels of any number of images by score.

    Each of at most 2^16 bins (:class:`fsad.metrics.bins.AdaptiveBins`) counts pixels on and off the
    part, the anomalous ones among them, and sums their weights for AU-PRO: one over the size of
    their region. It also knows whether all of its scores are equal. Towards the highest score the
    bins are divided further (:class:`fsad.metrics.top.TopBins`).

    **Error bound.** The curve through the bins' edges meets the exact curve there; inside a bin it
    runs straight where the exact one may not. Both rise, so they enclose at most half of the
    rectangle that the bin spans. A bin of equal scores is one tie and has no error:

    .. math:: |\Delta| \le \frac{1}{2\ell} \sum_b x_b \, y_b

    over the bins of several scores that start left of the limit :math:`\ell` (1 for AUROC), where
    :math:`x_b` is the bin's share of the normal pixels and :math:`y_b` its share of the anomalous
    pixels (AUROC) or of the regions (AU-PRO). Rounding the weights, so that their sum depends on no
    order, adds at most s / 2^41 for a largest region of s pixels.

    Laws (``tests/metrics``): order and batches change nothing, bit for bit (AU-PRO: up to
    2^13 regions); multiplying positive scores by a power of two changes nothing; where no bin
    holds several scores the AUROC is exact.

    Note:
        3.8 MB, whatever the number of images.
    """

    def __init__(self) -> None:
        self._bins = AdaptiveBins()
        self._counts = Counts(BINS)
        self._scores = np.full(BINS, _UNSEEN)  # a bin's key, if it is the only one
        self._top = TopBins()
        self._largest_region = 0

    @property
    def nbytes(self) -> int:
        """Bytes of state."""
        parts = self._bins, self._counts, self._scores, self._top
        return sum(part.nbytes for part in parts)

    def update(self, maps: Tensor, pixels: Pixels) -> None:
        """Count a batch.

        Args:
            maps: Anomaly maps, ``(n, H, W)``, finite, any scale, higher = more anomalous; taken as
                float32.
            pixels: Their ground truth.

        Raises:
            ShapeError: The maps have not as many pixels as the ground truth.
        """
        scores = maps.detach().float().cpu().flatten()
        check_shape("scores", scores, "p", p=len(pixels.on_part))
        if not scores.numel():
            return
        keys = keys_of(scores)
        bins, moved = self._bins.place(keys)
        if moved is not None:
            self._counts.move(moved)
            earlier = self._scores[: len(moved)].copy()
            self._scores[:] = _UNSEEN
            self._note(moved, earlier)
        self._note(bins, keys)
        self._counts.add(bins, pixels.on_part)
        on_part = pixels.on_part[pixels.anomalous]
        self._counts.add_anomalous(bins[pixels.anomalous], on_part, pixels.weights)
        self._top.add(keys, pixels)
        self._largest_region = max(self._largest_region, pixels.largest)

    def auroc(self, *, on_part: bool = False) -> Measured:
        """Measure how often an anomalous pixel scores above a normal one, ties counting half.

        Args:
            on_part: Take only the pixels on the part.

        Returns:
            Area under the receiver operating characteristic, in [0, 1].

        Raises:
            RunError: There are no anomalous or no normal pixels.
        """
        columns, several = self._falling()
        rows = slice(1, 2) if on_part else slice(0, 2)
        anomalous = columns[2:4][rows].sum(0)
        return _area(1.0, columns[:2][rows].sum(0) - anomalous, anomalous, several)

    def aupro(self, limit: float) -> Measured:
        """Measure the area under the per-region overlap curve up to a false-positive rate.

        Args:
            limit: As in :func:`fsad.metrics.pro.area_to`.

        Returns:
            AU-PRO, in [0, 1], higher = better.

        Raises:
            RunError: There are no anomalous or no normal pixels.
            ConfigError: ``limit`` is outside (0, 1].
        """
        columns, several = self._falling()
        normal = columns[:2].sum(0) - columns[2:4].sum(0)
        value, error = _area(limit, normal, columns[4], several)
        return Measured(value, error + self._largest_region / (2 * REGION))

    def _note(self, bins: NDArray[np.integer], keys: Ints) -> None:
        """Remember the key of bins that hold one, and mark those that hold several."""
        known = look_up(self._scores, bins)
        (news,) = ((known != keys) & (known != _SEVERAL)).nonzero()
        bins, keys, known = bins[news], keys[news], known[news]
        noted = np.where(known == _UNSEEN, keys, _SEVERAL)
        self._scores[bins] = noted  # of several for one bin, any
        self._scores[bins[self._scores[bins] != noted]] = _SEVERAL

    def _falling(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Read all bins from the highest score to the lowest.

        Returns:
            What they hold, ``(5, b)`` as in :class:`fsad.metrics.counts.Counts`, and whether they
            may hold several scores, ``(b,)``.
        """
        several = self._scores == _SEVERAL
        read = []  # the finest level first
        finer_keys, finer = np.empty(0, np.int32), np.empty((5, 0))
        for shift, keys, columns in self._top.occupied(below=self._bins.shift):
            wider = keys.searchsorted(finer_keys >> shift << shift)
            doubtful = several[self._bins.place(keys)[0]] & (shift > 0)
            read.append((_without(columns, wider, finer), doubtful))
            finer_keys, finer = keys, columns
        columns = self._counts.columns
        if len(finer_keys):
            columns = _without(columns, self._bins.place(finer_keys)[0], finer)
        order = self._bins.ascending()
        read.append((columns[:, order], several[order]))
        columns, several = (np.concatenate(kind, axis=-1) for kind in zip(*read[::-1], strict=True))
        # Without empty bins, sums do not depend on how the gaps between scores are divided.
        falling = columns[:2].sum(0).nonzero()[0][::-1]
        return columns[:, falling], several[falling]


def _without(columns: Floats, bins: NDArray[np.integer], finer: Floats) -> Floats:
    """Take from bins what is read from a finer level instead."""
    rest = columns.copy()
    torch.from_numpy(rest).index_add_(1, torch.from_numpy(bins), torch.from_numpy(finer), alpha=-1)
    return rest


def _area(limit: float, normal: Floats, gain: Floats, several: NDArray[np.bool_]) -> Measured:
    """Integrate the curve to which each bin adds its share of ``normal`` and of ``gain``."""
    if not normal.any() or not gain.any():
        raise RunError(
            "histogram: expected anomalous and normal pixels, got one kind alone or none"
        )
    x, y = (_shares(amounts) for amounts in (normal, gain))
    doubtful = several & (x[:-1] < limit)
    error = float((np.diff(x) * np.diff(y))[doubtful].sum()) / (2 * limit)
    return Measured(area_to(limit, torch.from_numpy(x), torch.from_numpy(y)), error)


def _shares(amounts: Floats) -> Floats:
    """Cumulate amounts to shares, from 0 to 1."""
    sums = np.concatenate([[0.0], amounts.cumsum()])
    shares: Floats = sums / sums[-1]
    return shares
