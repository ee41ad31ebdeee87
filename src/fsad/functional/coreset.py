"""Choosing the rows of a memory bank: greedy k-centre selection."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from fsad.errors import ConfigError, check_shape


def k_center_greedy(
    features: Tensor,
    count: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Tensor:
    r"""Pick rows one at a time, each the farthest from those picked before.

    The first pick is row 0; then

    .. math:: i_{t+1} = \arg\max_i \min_{s \le t} \|f_i - f_{i_s}\|

    Laws:

    * The cover radius (the largest distance of a row to its nearest pick) never grows.
    * Picks are unique; ``count`` = all rows gives a permutation.
    * k picks from k well-separated clusters hit every cluster.

    Args:
        features: Rows to choose from, ``(v, c)``.
        count: How many to pick, 1 to ``v``.
        progress: Wraps the loop, to show a bar.

    Returns:
        Indices of the picks in the order they were made, ``(count,)``.

    Raises:
        ConfigError: ``count`` is out of range.

    Note:
        Cost is ``count·v·c`` multiplications as matrix-vector products over kept squared norms; the
        transient memory is three vectors of length ``v`` and one centred copy of the features.

    Source:
        Sener and Savarese, 2018; as used by PatchCore (Roth et al., 2022).
    """
    rows = check_shape("features", features, "v c")["v"]
    if not 1 <= count <= rows:
        raise ConfigError(f"coreset size: expected a number from 1 to {rows} rows, got {count}")
    centred = features - features.mean(dim=0)  # keeps the cancellation below small
    norms = centred.square().sum(dim=1)
    to_nearest = torch.full_like(norms, torch.inf)  # squared distance to the nearest pick
    distance = torch.empty_like(norms)
    picks = torch.empty(count, dtype=torch.long, device=features.device)
    pick = torch.zeros(1, dtype=torch.long, device=features.device)
    for step in progress(range(count)):
        picks[step] = pick[0]
        centre = centred[pick[0]]
        # ‖f‖² - 2 f·p + ‖p‖², without a temporary of v x c
        torch.addmv(norms, centred, centre, alpha=-2, out=distance)
        distance.add_(norms[pick]).clamp_(min=0)
        torch.minimum(to_nearest, distance, out=to_nearest)
        to_nearest[pick] = -1  # never again, even when only duplicates are left
        pick = to_nearest.argmax(keepdim=True)
    return picks
