"""The deviation losses of several heads: which images each is for, and what it looks for."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from fsad.functional.deviation import deviation_losses, mean_where
from fsad.nn.anomaly_heads import HeadScores

NORMAL, SEEN, PSEUDO = 0, 1, 2
"""Kinds of training images."""


class Rule(NamedTuple):
    """What a head learns.

    Attributes:
        counts: Tells which images it learns from, by their kinds ``(n,)``.
        wanted: Tells which of them shall score high.
    """

    counts: Callable[[Tensor], Tensor]
    wanted: Callable[[Tensor], Tensor]


RULES: Mapping[str, Rule] = {
    "seen": Rule(lambda kinds: kinds != PSEUDO, lambda kinds: kinds == SEEN),
    "pseudo": Rule(lambda kinds: kinds != SEEN, lambda kinds: kinds == PSEUDO),
    "residual": Rule(
        lambda kinds: torch.ones_like(kinds, dtype=torch.bool), lambda it: it != NORMAL
    ),
    "normality": Rule(
        lambda kinds: torch.ones_like(kinds, dtype=torch.bool), lambda it: it == NORMAL
    ),
}
"""Of each head by the name of its part."""


def heads_loss(
    said: Mapping[str, HeadScores],
    kinds: Tensor,
    margin: float,
    moments: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Return the sum of the heads' mean losses.

    Args:
        said: What the heads say of n images.
        kinds: Of the images, ``(n,)``.
        margin: As for :func:`~fsad.functional.deviation.deviation_losses`, like ``moments``.
        moments: Mean and deviation of the prior.

    Returns:
        A scalar, 0 or more.

    Source:
        DRA (CVPR 2022), eq. (8): equal weights.
    """
    total = torch.zeros((), dtype=next(iter(said.values())).images.dtype, device=kinds.device)
    for name, scores in said.items():
        rule = RULES[name]
        losses = deviation_losses(scores.images, rule.wanted(kinds), margin, moments)
        total = total + mean_where(losses, rule.counts(kinds))
    return total
