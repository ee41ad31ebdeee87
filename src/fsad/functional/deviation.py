"""The deviation loss: normal images score like draws from a prior, anomalous ones far above."""

import numpy as np
import torch
from torch import Tensor

from fsad.errors import check_at_least, check_shape


def prior_moments(draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return mean and standard deviation of scores drawn from the prior N(0, 1).

    Args:
        draws: How many; 0 for the prior's own, 0 and 1. The published number is 5000.
        rng: The only source of randomness.

    Raises:
        ConfigError: ``draws`` is below 0, or 1, which has no deviation.

    Examples:
        >>> import numpy as np
        >>> prior_moments(0, np.random.default_rng(0))
        (0.0, 1.0)
    """
    if check_at_least("prior", draws, 0) == 0:
        return 0.0, 1.0
    check_at_least("prior", draws, 2)
    scores = rng.standard_normal(draws)
    return float(scores.mean()), float(scores.std(ddof=1))


def deviation_losses(
    scores: Tensor,
    anomalous: Tensor,
    margin: float = 5.0,
    moments: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    r"""Return the deviation loss of each image.

    .. math:: \ell(s, y) = (1 - y)\,|d| + y \max(0, m - d), \qquad d = \frac{s - \mu}{\sigma}

    Laws (``tests/functional/test_deviation.py``): a normal image at the prior's mean, and an
    anomalous one beyond the margin, cost nothing and have no gradient that moves them further; the
    loss is never negative.

    Args:
        scores: Image scores, ``(n,)``; higher = more anomalous.
        anomalous: Whether an image is, ``(n,)``, bool.
        margin: How many deviations an anomaly shall lie above the prior's mean, m.
        moments: Mean and deviation of the prior's scores, as :func:`prior_moments` gives them.

    Returns:
        ``(n,)``, 0 or more, in deviations of the prior.

    Raises:
        ShapeError: ``anomalous`` has another shape.

    Source:
        Pang et al., Explainable deep few-shot anomaly detection with deviation networks
        (arXiv 2108.00462), eqs. (3) and (4).
    """
    check_shape("anomalous", anomalous, "n", n=check_shape("scores", scores, "n")["n"])
    mean, deviation = moments
    deviations = (scores - mean) / deviation
    return torch.where(anomalous, (margin - deviations).clamp(min=0), deviations.abs())


def mean_where(values: Tensor, counts: Tensor) -> Tensor:
    """Return the mean of those values ``(n,)`` that count, 0 where none does."""
    weights = counts.to(values.dtype)
    return (values * weights).sum() / weights.sum().clamp(min=1)
