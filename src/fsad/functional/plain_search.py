r"""Search a whole bank without a branch or a loop: the form that an exported graph takes.

Shapes: ``q`` queries, ``b`` bank rows, ``c`` channels, ``k`` neighbours.
"""

import torch
from torch import Tensor

from fsad.functional.prepared import PreparedBank

SPARE = 8  # extra candidates whose order rounding could have swapped, measured again exactly


def search_plainly(queries: Tensor, bank: PreparedBank, k: int) -> tuple[Tensor, Tensor]:
    r"""Find the k nearest bank rows of every query by one product over the whole bank.

    As in :func:`~fsad.functional.distance.nearest`, :math:`\|b - m\|^2 - 2\,(q - m)^\top b` chooses
    candidates, and :math:`\|q - b\|` of these is measured, so that no value suffers from
    cancellation. Nothing is certified: where more rows than k and ``SPARE`` are nearer to one
    another than the product's rounding, one of them may come in place of the nearest. Equal rows
    are no such case: as there, those with the lowest indices come.

    Args:
        queries: ``(q, c)``, in the precision of the bank's norms.
        bank: What is searched.
        k: Neighbours wanted, at most b.

    Returns:
        Distances and bank indices, each ``(q, k)``, as from
        :func:`~fsad.functional.distance.nearest`.

    Note:
        Holds ``q·b`` numbers, and ``q·(k + SPARE)·c``: for 784 patches and a bank of 10 000 rows
        31 MB, and for 384 channels and k = 5 another 16 MB, for each image.
    """
    rows = bank.rows.to(queries.dtype)
    values = bank.norms - 2 * (queries - bank.centre) @ rows.T
    wanted = min(k + SPARE, len(bank.rows))
    candidates = values.topk(wanted, dim=1, largest=False).indices
    if bank.equal is not None:
        candidates = bank.equal.lowest(candidates)
    candidates = candidates.sort(dim=1).values  # equal distances come by bank index
    distances = torch.linalg.vector_norm(rows[candidates] - queries[:, None], dim=2)
    nearest = _ranks(distances).topk(k, dim=1, largest=False).indices
    return distances.gather(1, nearest), candidates.gather(1, nearest)


def _ranks(values: Tensor) -> Tensor:
    """Return each value's place in ascending order, ``(q, n)``; of equal ones the first is first.

    Not a stable sort, which ONNX has no operator for; of values, topk would leave the order of
    equal ones open, of different ranks it cannot.
    """
    left, right = values[:, :, None], values[:, None, :]
    earlier = torch.ones(values.shape[1], values.shape[1], device=values.device).tril(-1) > 0
    return ((right < left) | ((right == left) & earlier)).sum(dim=2)
