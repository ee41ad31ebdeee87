"""How sure a paired difference is: resampling draws of the shots, and test images."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fsad.errors import DataError, check_at_least

Array = NDArray[np.float64]
REPLICATES = 2000
LEVEL = 0.95


def ranking(good: Array, anomalous: Array) -> Array:
    """Tell for every pair of images whether the anomalous one scores higher.

    Args:
        good: Scores of good images, ``(g,)``.
        anomalous: Scores of anomalous ones, ``(a,)``.

    Returns:
        ``(g, a)``: 1 where it does, 0 where it does not, one half where they are equal; its mean is
        the AUROC.
    """
    above = anomalous[None, :] > good[:, None]
    return np.asarray(above + 0.5 * (anomalous[None, :] == good[:, None]), dtype=np.float64)


def interval(
    differences: Mapping[str, Sequence[Array]],
    seed: int = 0,
    replicates: int = REPLICATES,
    level: float = LEVEL,
) -> tuple[float, float] | None:
    r"""Return the bootstrap interval of a mean difference, over draws of the shots and test images.

    The categories are the ones that are asked about, and stay. In each, a replicate draws anew,
    with replacement, the draws of the shots, and the good and the anomalous test images: one choice
    of images for all draws, for these show the same images. From n it draws n - 1, which makes the
    variance of a replicate's mean that of the mean itself. Few draws tell little of their own
    spread: the quantiles' distance from the mean is widened by :math:`t / z`, Student's quantile
    over the normal one, with the degrees of freedom that the draws' share of the variance leaves.

    Args:
        differences: For each category, for each draw of the shots, the differences of two methods'
            :func:`ranking`, ``(g, a)``; or of another metric, ``(1, 1)``: then draws alone are
            resampled.
        seed: Of what is drawn.
        replicates: How often.
        level: Share of the replicates within, in (0, 1).

    Returns:
        The lower and the upper end; None where a category has a single draw, which tells nothing of
        the others there might be.

    Raises:
        DataError: There is no category, or one without a draw, or draws of other images.

    Note:
        Work is ``replicates`` times the entries of ``differences``.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13; McCarthy and Snowden,
        The Bootstrap and Finite Population Sampling (1985), for n - 1.
    """
    check_at_least("replicates", replicates, 1)
    names = sorted(differences)
    if not names or not all(differences[name] for name in names):
        raise DataError("differences: expected some for every category, got none")
    for name in names:
        shapes = {each.shape for each in differences[name]}
        if len(shapes) > 1:
            raise DataError(
                f"differences of {name}: expected the same images in every draw, got {shapes}"
            )
    if min(len(differences[name]) for name in names) < 2:
        return None
    rng = np.random.default_rng(seed)
    draws = {name: np.stack(differences[name]) for name in names}
    means = np.mean([_resampled(draws[name], replicates, rng) for name in names], axis=0)
    centre = float(np.mean([each.mean() for each in draws.values()]))
    tail = (1 - level) / 2
    freedom = _freedom(list(draws.values()), float(means.var()))
    wider = float(stats.t.ppf(1 - tail, freedom) / stats.norm.ppf(1 - tail))
    low, high = centre + wider * (np.quantile(means, [tail, 1 - tail]) - centre)
    return float(low), float(high)


def _freedom(draws: list[Array], whole: float) -> float:
    """Return the degrees of freedom of a variance, part of which comes from few draws.

    Args:
        draws: By category, ``(d, g, a)``.
        whole: The variance of the mean over all of them.

    Source:
        Satterthwaite (1946): those of the draws, times the square of the whole variance over the
        draws' part.
    """
    of_draws = sum(len(each) for each in draws) - len(draws)
    parts = [each.mean(axis=(1, 2)).var(ddof=1) / len(each) for each in draws]
    part = float(np.sum(parts)) / len(draws) ** 2
    return float(of_draws * max(1.0, whole / part) ** 2) if part > 0 else float("inf")


def _resampled(draws: Array, times: int, rng: np.random.Generator) -> Array:
    """Return means over resampled draws and images of ``(d, g, a)``, ``(times,)``."""
    of_draws, of_good, of_anomalous = (_weights(size, times, rng) for size in draws.shape)
    by_draw = np.stack([((of_good @ each) * of_anomalous).sum(axis=1) for each in draws], axis=1)
    return np.asarray((by_draw * of_draws).sum(axis=1))


def _weights(size: int, times: int, rng: np.random.Generator) -> Array:
    """Return how much each of ``size`` things counts in each replicate, ``(times, size)``."""
    drawn = max(1, size - 1)
    return np.asarray(rng.multinomial(drawn, np.full(size, 1 / size), size=times) / drawn)
