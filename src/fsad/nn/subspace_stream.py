"""A memory bank that keeps no patch: the subspace in which normal features vary."""

from collections.abc import Callable

import torch
from torch import Tensor

from fsad.errors import BankError, NonFiniteError, check_shape
from fsad.functional.subspace import check_variance, principal_axes
from fsad.nn.memory_bank import MemoryBank


class SubspaceStream:
    r"""Takes patch features batch by batch; ends in a bank of their mean and principal axes.

    The bank's first row is the mean, the others are orthonormal axes that hold a given share of the
    variance, see :func:`~fsad.functional.subspace.principal_axes`; all of features that are
    z-scored by one mean and one deviation of the domain, as those of every bank.

    Laws (``tests/nn/test_subspace_stream.py``): within rounding the bank depends on the rows alone,
    not on their order or batches; it is that of all rows at once.

    Args:
        domain: ``"source"`` or ``"target"``, for messages.
        variance: Share of the variance that the axes hold, above 0 and below 1.

    Raises:
        ConfigError: ``variance`` is out of range.

    Note:
        Memory is one matrix of c x c in float64, whatever the number of images: 1.2 MB of 384
        channels. Nothing else is kept of a row.
    """

    def __init__(self, domain: str, variance: float) -> None:
        self.domain = domain
        self.variance = check_variance(f"{domain} variance", variance)
        self.seen = 0
        self._origin = self._sum = self._products = torch.empty(0)

    @property
    def count(self) -> int:
        """How many steps filling a bank takes, for a progress bar."""
        return 1

    def add(self, features: Tensor) -> None:
        """Take a batch of rows.

        Args:
            features: Patch features, ``(b, c)``.

        Raises:
            ShapeError: ``features`` has not two axes, or other channels than the batch before.
        """
        known = {"c": len(self._origin)} if self.seen else {}
        check_shape("features", features, "b c", **known)
        if not len(features):
            return
        rows = features.double()
        if not self.seen:  # sums about a point among the rows keep their digits
            self._origin = rows.mean(dim=0)
            self._sum = torch.zeros_like(self._origin)
            self._products = torch.zeros(rows.shape[1], rows.shape[1]).to(rows)
        rows = rows - self._origin
        self.seen += len(rows)
        self._sum += rows.sum(dim=0)
        self._products += rows.T @ rows

    def fill(self, bank: MemoryBank, progress: Callable[[int], object] = lambda _: None) -> None:
        """Fill a bank with the mean and the axes; the stream stays as it is.

        Args:
            bank: The bank to fill.
            progress: Called with 1 when the axes are there.

        Raises:
            BankError: No row was added, the rows do not vary, or the axes are as many as the
                channels, so that nothing would lie outside.
            NonFiniteError: A feature is NaN or infinite.
        """
        if not self.seen:
            raise BankError(f"bank '{self.domain}': expected features to keep, got none")
        if not bool(torch.isfinite(self._products).all()):
            raise NonFiniteError(
                f"{self.domain} features: expected finite numbers, got NaN or infinity"
            )
        shift = self._sum / self.seen
        centre = self._origin + shift
        covariance = self._products / self.seen - torch.outer(shift, shift)
        middle = centre.mean()
        squares = self.seen * (covariance.trace() + (centre - middle).square().sum())
        deviation = (squares / (self.seen * len(centre) - 1)).sqrt()
        if not float(covariance.trace()) > 0:
            raise BankError(
                f"bank '{self.domain}': expected features that vary, got the same everywhere. "
                "Check the images and the backbone's weights."
            )
        axes = principal_axes(covariance, self.variance)
        if len(axes) == len(centre):
            raise BankError(
                f"bank '{self.domain}': expected a subspace that leaves something over, got one of "
                f"all {len(centre)} channels. Lower the share of variance that it holds."
            )
        rows = torch.cat([((centre - middle) / deviation)[None], axes])
        bank.fill(rows.float(), middle.float(), deviation.float())
        progress(1)
