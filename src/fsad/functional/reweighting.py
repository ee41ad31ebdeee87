"""PatchCore's image score: the farthest patch, less if its neighbourhood in the bank is thin."""

import torch
from torch import Tensor

from fsad.errors import check_at_least, check_shape
from fsad.functional.distance import nearest
from fsad.functional.prepared import PreparedBank, prepare


def reweighted_scores(
    features: Tensor, patches: Tensor, bank: Tensor | PreparedBank, neighbours: int
) -> Tensor:
    r"""Score images by their farthest patch, weighted by how alone its nearest row stands.

    With :math:`q` the image's farthest patch, :math:`m^*` its nearest bank row and
    :math:`s^* = \|q - m^*\|`,

    .. math:: s = \Big(1 - \frac{\exp s^*}{\sum_{m \in N_b(m^*)} \exp \|q - m\|}\Big)\, s^*

    where :math:`N_b(m^*)` are the b bank rows nearest to :math:`m^*`, itself among them. As it is
    the nearest to q of them all, the weight lies in :math:`[1 - 1/b, 1)`.

    Args:
        features: Patch features, ``(n, c, h, w)``.
        patches: Their distances to the bank, ``(n, h, w)``: only the farthest patch of each image
            is searched for again.
        bank: Memory bank, ``(b, c)``, prepared or not.
        neighbours: b, at least 2; a bank with fewer rows gives those it has.

    Returns:
        Image scores, ``(n,)``, 0 or more; higher = more anomalous. A bank of one row gives
        :math:`s^*` itself.

    Raises:
        ConfigError: ``neighbours`` is below 2.
        ShapeError: The channels differ, or there are not as many patches.

    Source:
        PatchCore (Roth et al., CVPR 2022), eq. (7).
    """
    check_at_least("neighbours", neighbours, 2)
    sizes = check_shape("features", features, "n c h w")
    check_shape("patches", patches, "n h w", n=sizes["n"], h=sizes["h"], w=sizes["w"])
    bank = prepare(bank)
    score, farthest = patches.flatten(1).max(dim=1)
    count = min(neighbours, len(bank.rows))
    if count < 2:
        return score
    image = torch.arange(sizes["n"], device=features.device)
    patch = features.flatten(2)[image, :, farthest].to(bank.rows.dtype)  # (n, c)
    _, rows = nearest(patch, bank)
    _, around = nearest(bank.rows[rows[:, 0]], bank, count)  # (n, b)
    apart = (bank.rows[around] - patch[:, None]).norm(dim=2)
    # A twin of m* may stand in its place among its own neighbours: the sum must hold s* itself.
    apart[:, 0] = score
    weighted: Tensor = (1 - apart.softmax(dim=1)[:, 0]) * score  # eq. (7)
    return weighted
