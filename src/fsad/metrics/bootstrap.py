"""How sure a paired difference is: resampling categories, draws of the shots, and test images."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

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
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean difference.

    In every replicate categories are drawn with replacement, in each of them draws of the shots,
    and its good and its anomalous test images: one choice of images for all draws, for these show
    the same images. A single category, draw or image is what it is: nothing is drawn, and the
    interval does not hold what it might have been.

    Args:
        differences: For each category, for each draw of the shots, the differences of two methods'
            :func:`ranking`, ``(g, a)``; or of another metric, ``(1, 1)``.
        seed: Of what is drawn.
        replicates: How often.
        level: Share of the replicates within, in (0, 1).

    Returns:
        The lower and the upper end.

    Raises:
        DataError: There is no category, or one without a draw, or draws of other images.

    Note:
        Work is ``replicates`` times the entries of one category's differences for each of them.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, chapters 8 and 13.
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
    rng = np.random.default_rng(seed)
    total = np.zeros(replicates)
    for _ in names:  # as many categories in a replicate as there are
        chosen = rng.integers(len(names), size=replicates)
        for number, name in enumerate(names):
            places = np.flatnonzero(chosen == number)
            total[places] += _resampled(np.stack(differences[name]), len(places), rng)
    tail = (1 - level) / 2
    low, high = np.quantile(total / len(names), [tail, 1 - tail])
    return float(low), float(high)


def _resampled(draws: Array, times: int, rng: np.random.Generator) -> Array:
    """Return means over resampled draws and images of ``(d, g, a)``, ``(times,)``."""
    d, g, a = draws.shape
    of_draws, of_good, of_anomalous = (
        rng.multinomial(size, np.full(size, 1 / size), size=times) / size for size in (d, g, a)
    )
    by_draw = np.stack([((of_good @ each) * of_anomalous).sum(axis=1) for each in draws], axis=1)
    return np.asarray((by_draw * of_draws).sum(axis=1))
