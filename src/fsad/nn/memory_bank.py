"""A memory bank: the kept patch features of one domain, as buffers that resize on load."""

from typing import Any

import torch
from torch import Tensor, nn

from fsad.errors import BankError, check_shape


class MemoryBank(nn.Module):
    """Patch features of one domain, z-scored with that domain's own scalar mean and deviation.

    Args:
        domain: ``"source"`` or ``"target"``, for messages.

    Attributes:
        views: How many views of each image its patches come from.
    """

    features: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, domain: str) -> None:
        super().__init__()
        self.domain = domain
        self.views = 1
        self.register_buffer("features", torch.empty(0, 0))
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("std", torch.tensor(1.0))

    @property
    def is_filled(self) -> bool:
        """Tell whether the bank holds any row."""
        return len(self.features) > 0

    @property
    def rows(self) -> Tensor:
        """The normalised features, ``(b, c)``.

        Raises:
            BankError: The bank is empty.
        """
        if not self.is_filled:
            raise BankError(
                f"bank '{self.domain}': expected features, got none. "
                "Put a BankStage into the plan, before what needs it."
            )
        return self.features

    def fill(self, features: Tensor, mean: Tensor, std: Tensor) -> None:
        """Keep features that are normalised already.

        Args:
            features: ``(b, c)``, z-scored.
            mean: Scalar mean of the domain's features before z-scoring.
            std: Their scalar standard deviation.

        Raises:
            BankError: No rows, or a deviation of zero.
        """
        check_shape("features", features, "b c")
        if not len(features):
            raise BankError(f"bank '{self.domain}': expected features to keep, got none")
        if not float(std) > 0:
            raise BankError(
                f"bank '{self.domain}': expected features that vary, got a standard deviation of "
                f"{float(std)}. Check the images and the backbone's weights."
            )
        self.features, self.mean, self.std = features, mean.reshape(()), std.reshape(())

    def normalize(self, features: Tensor) -> Tensor:
        """Z-score features of any shape with this domain's statistics.

        Raises:
            BankError: The bank is empty.
        """
        if not self.is_filled:
            return self.rows  # raises
        return (features - self.mean) / self.std

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # A bank's size is known only once it is filled: take the stored one.
        for name in ("features", "mean", "std"):
            if (stored := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(stored, device=self.mean.device))
        super()._load_from_state_dict(state_dict, prefix, *args)
