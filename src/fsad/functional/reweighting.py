"""PatchCore's image score: the farthest patch, less if its neighbourhood in the bank is thin."""

import torch
from torch import Tensor

from fsad.errors import check_at_least, check_shape
from fsad.functional.distance import nearest
from fsad.functional.prepared import PreparedBank, prepare


def reweighted_scores(features: Tensor, bank: Tensor | PreparedBank, neighbours: int) -> Tensor:
    r"""Score images by their farthest patch, weighted by how alone its nearest row stands.

    With :math:`q` the image's farthest patch, :math:`m^*` its nearest bank row and
    :math:`s^* = \|q - m^*\|`,

    .. math:: s = \Big(1 - \frac{\exp s^*}{\sum_{m \in N_b(m^*)} \exp \|q - m\|}\Big)\, s^*

    where :math:`N_b(m^*)` are the b bank rows nearest to :math:`m^*`, itself among them. As it is
    the nearest to q of them all, the weight lies in :math:`[1 - 1/b, 1)`.

    Args:
        features: Patch features, ``(n, c, h, w)``.
        bank: Memory bank, ``(b, c)``, prepared or not.
        neighbours: b, at least 2; a bank with fewer rows gives those it has.

    Returns:
        Image scores, ``(n,)``, 0 or more; higher = more anomalous. A bank of one row gives
        :math:`s^*` itself.

    Raises:
        ConfigError: ``neighbours`` is below 2.
        ShapeError: The channels differ.

    Source:
        PatchCore (Roth et al., CVPR 2022), eq. (7).
    """
    check_at_least("method.reweight", neighbours, 2)
    sizes = check_shape("features", features, "n c h w")
    bank = prepare(bank)
    queries = features.flatten(2).transpose(1, 2)  # (n, h * w, c)
    distances, rows = nearest(queries.reshape(-1, sizes["c"]), bank)
    distances, rows = distances.view(sizes["n"], -1), rows.view(sizes["n"], -1)
    farthest = distances.argmax(dim=1)
    image = torch.arange(sizes["n"], device=features.device)
    score, row = distances[image, farthest], rows[image, farthest]
    count = min(neighbours, len(bank.rows))
    if count < 2:
        return score
    _, around = nearest(bank.rows[row], bank, count)  # (n, b)
    patch = queries[image, farthest].to(bank.rows.dtype)
    apart = (bank.rows[around] - patch[:, None]).norm(dim=2)
    # A twin of m* may stand in its place among its own neighbours: the sum must hold s* itself.
    apart[:, 0] = score
    weighted: Tensor = (1 - apart.softmax(dim=1)[:, 0]) * score  # eq. (7)
    return weighted
