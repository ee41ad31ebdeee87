"""How much each of several tasks counts, by how well its model generalises."""

import torch
from torch import Tensor

from fsad.errors import check_shape

KNOWN = 0.5
"""Weight of an image whose anomaly the task's model has seen, or that is normal."""


def generalisation_errors(
    predicted: Tensor, anomalous: Tensor, own: Tensor, unseen: Tensor
) -> Tensor:
    r"""Return how far each task's scores are from the labels, beside its own normal images.

    .. math:: r_i = \frac{1}{|D \setminus X_{n,i}|} \sum_{j \notin X_{n,i}} c_{ij}
       (\hat s_{ij} - y_j)^2

    with :math:`c_{ij} = 1` for an anomaly that task i has not seen, else 1/2.

    Args:
        predicted: Scores of T tasks on n images, in [0, 1], ``(t, n)``.
        anomalous: Labels y, ``(n,)``, bool.
        own: Normal images that a task's model was trained on, ``(t, n)``, bool.
        unseen: Anomalous images that it was not trained on, ``(t, n)``, bool.

    Returns:
        ``(t,)``, in [0, 1]; higher = generalises worse. 0 of a task that saw everything.

    Raises:
        ShapeError: Two of them differ.

    Source:
        Zhu et al., AHL (CVPR 2024), eq. (6).
    """
    sizes = check_shape("predicted", predicted, "t n")
    for name, tensor in (("own", own), ("unseen", unseen)):
        check_shape(name, tensor, "t n", **sizes)
    check_shape("anomalous", anomalous, "n", n=sizes["n"])
    counted = (~own).to(predicted.dtype)
    weights = torch.where(unseen, 1.0, KNOWN).to(predicted.dtype) * counted
    errors = (predicted - anomalous.to(predicted.dtype)).square()
    return (weights * errors).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


def importance(errors: Tensor) -> Tensor:
    r"""Return the weight of each task.

    .. math:: w_i = \frac{e^{-r_i}}{\sum_j e^{-r_j}}

    Laws (``tests/functional/test_importance.py``): weights sum to 1; equal errors give 1/T each; a
    smaller error gives a larger weight.

    Args:
        errors: r, ``(t,)``.

    Returns:
        ``(t,)``, in (0, 1).

    Source:
        AHL, eq. (7).

    Examples:
        >>> import torch
        >>> importance(torch.zeros(4))
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    return torch.softmax(-errors, dim=0)
