"""Intrinsic deviations: how much a residual lies in the directions of defects, and the losses."""

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    interpolate,
    normalize,
)

from fsad.errors import check_choice, check_shape
from fsad.functional.scoring import top_mean

OVER = ("anomalous", "all")
"""Which patches the gathering loss is a mean over."""
FOCAL_SHARE, FOCAL_POWER, SMOOTH = 0.25, 2.0, 1.0


def intrinsic_scores(residuals: Tensor, directions: Tensor) -> Tensor:
    r"""Score patches by the angle between their residual and what the directions make of it.

    .. math::
        s_a(d) = 1 - \tfrac12 \Big\lVert \frac{d}{\lVert d \rVert} -
            \frac{T^\top T d}{\lVert T^\top T d \rVert} \Big\rVert

    Laws (``tests/functional/test_intrinsic.py``):

    * A residual in an eigendirection of :math:`T^\top T` scores 1, one orthogonal to all of T
      :math:`1 - \sqrt{1/2}`, and 0, which has no direction, scores 0: the lowest of all.
    * The length of a residual, and the order and a common scale of the directions, change nothing.

    Args:
        residuals: ``(n, p, c)``.
        directions: T, ``(n, m, c)``, of each sample; not orthonormal.

    Returns:
        ``(n, p)``, in [0, 1]; higher = more like the known defects.

    Raises:
        ShapeError: The shapes do not fit.

    Source:
        IDEAL (arXiv 2605.23231), eq. (8). Departure: a residual of zero scores 0, not 1.
    """
    sizes = check_shape("residuals", residuals, "n p c")
    check_shape("directions", directions, "n m c", n=sizes["n"], c=sizes["c"])
    unit = normalize(residuals, dim=2, eps=_tiny(residuals))
    projected = (unit @ directions.transpose(1, 2)) @ directions
    cosine = (unit * normalize(projected, dim=2, eps=_tiny(residuals))).sum(dim=2)
    # |a - b|^2 = 2 - 2 cos of unit vectors; where either is 0 so is the cosine.
    apart = (2 - 2 * cosine).clamp(min=1e-12).sqrt()
    is_nothing = residuals.detach().square().sum(dim=2) == 0
    return (1 - apart / 2).masked_fill(is_nothing, 0.0)


def deviation_scores(similarity: Tensor, intrinsic: Tensor) -> Tensor:
    r"""Put both scores together: :math:`A = (s_a + 1 - s_n) / 2`.

    Args:
        similarity: How normal patches look, any shape, in [0, 1].
        intrinsic: How much they look like known defects, of the same shape, in [0, 1].

    Returns:
        In [0, 1]; higher = more anomalous.

    Source:
        IDEAL (arXiv 2605.23231), eq. (9).

    Examples:
        >>> import torch
        >>> deviation_scores(torch.tensor([1.0, 0.5]), torch.tensor([0.0, 1.0])).tolist()
        [0.0, 0.75]
    """
    return (intrinsic + 1 - similarity) / 2  # eq. (9)


def orthogonality_loss(directions: Tensor) -> Tensor:
    r"""Tell how far directions are from being orthogonal to each other.

    .. math:: \operatorname{mean} \big( \hat T \hat T^\top - I \big)^2

    with rows of length 1. Laws (``tests/functional/test_intrinsic.py``): 0 for orthogonal rows of
    any lengths, :math:`1 - 1/m` for m equal ones.

    Args:
        directions: T, ``(n, m, c)``.

    Returns:
        A scalar, 0 or more.

    Source:
        IDEAL (arXiv 2605.23231), orthogonality of the deviation vectors.
    """
    count = check_shape("directions", directions, "n m c")["m"]
    unit = normalize(directions, dim=2)
    identity = torch.eye(count, dtype=unit.dtype, device=unit.device)
    return (unit @ unit.transpose(1, 2) - identity).square().mean()


def gathering_loss(
    residuals: Tensor, directions: Tensor, anomalous: Tensor, over: str = "anomalous"
) -> Tensor:
    r"""Tell how far the residuals of anomalous patches are from the nearest direction.

    .. math:: \operatorname{mean}_p \min_m \big( 1 - \cos(d_p, t_m) \big)

    Laws (``tests/functional/test_intrinsic.py``): 0 where each residual has its direction among T;
    patches that are not anomalous do not move it, or with ``over="all"`` each adds 1.

    Args:
        residuals: ``(n, p, c)``.
        directions: T, ``(n, m, c)``.
        anomalous: Which patches are, ``(n, p)``, bool.
        over: ``anomalous``: the mean over these, 0 if there are none; ``all``: over all patches,
            as published, so that large defects weigh more.

    Returns:
        A scalar in [0, 2].

    Raises:
        ConfigError: ``over`` is unknown.

    Source:
        IDEAL (arXiv 2605.23231), discriminability of the deviation vectors.
    """
    check_choice("over", over, OVER)
    sizes = check_shape("residuals", residuals, "n p c")
    check_shape("directions", directions, "n m c", n=sizes["n"], c=sizes["c"])
    check_shape("anomalous", anomalous, "n p", n=sizes["n"], p=sizes["p"])
    cosine = normalize(residuals, dim=2) @ normalize(directions, dim=2).transpose(1, 2)
    apart = 1 - cosine.amax(dim=2)
    if over == "all":
        return torch.where(anomalous, apart, 1.0).mean()
    return torch.where(anomalous, apart, 0.0).sum() / anomalous.sum().clamp(min=1)


def image_loss(scores: Tensor, anomalous: Tensor, top_share: float = 0.01) -> Tensor:
    r"""Tell how well the worst patches separate anomalous images from good ones.

    With a the mean of an image's worst patches, it is the cross-entropy of :math:`(1 - a, a)`,
    taken as logits: :math:`\log (1 + e^{1 - 2a})` of an anomalous image.

    Args:
        scores: Patch scores, ``(n, h, w)``, in [0, 1]; higher = more anomalous.
        anomalous: Whether an image is, ``(n,)``, bool.
        top_share: Share of the patches that count, in (0, 1].

    Returns:
        A scalar.

    Source:
        IDEAL (arXiv 2605.23231), image-level loss, as in its code; the figure has the binary one.
    """
    worst = top_mean(scores, top_share)
    return cross_entropy(torch.stack([1 - worst, worst], dim=1), anomalous.long())


def pixel_loss(similarity: Tensor, intrinsic: Tensor, masks: Tensor) -> Tensor:
    r"""Tell how well both scores draw the defects: a focal loss and a Dice loss.

    The maps :math:`(s_n, s_a)`, enlarged to pixels, are taken as logits of "normal" and
    "anomalous". The focal loss is that of two sigmoids (share 0.25, power 2); the Dice loss that of
    their softmax, 1 minus twice the overlap over the sum, added up over both.

    Law (``tests/functional/test_intrinsic.py``): maps that are right cost less than maps that are
    wrong.

    Args:
        similarity: ``(n, h, w)``, in [0, 1]; higher = more normal.
        intrinsic: ``(n, h, w)``, in [0, 1]; higher = more anomalous.
        masks: Defective pixels, ``(n, H, W)``, bool.

    Returns:
        A scalar.

    Raises:
        ShapeError: The shapes do not fit.

    Source:
        IDEAL (arXiv 2605.23231), pixel-level losses, as in its code.
    """
    sizes = check_shape("similarity", similarity, "n h w")
    check_shape("intrinsic", intrinsic, "n h w", **sizes)
    check_shape("masks", masks, "n H W", n=sizes["n"])
    stacked = torch.stack([similarity, intrinsic], dim=1)
    maps = interpolate(stacked, size=masks.shape[1:], mode="bilinear", align_corners=False)
    truth = torch.stack([~masks, masks], dim=1).to(maps.dtype)
    return _focal(maps, truth) + _dice(maps.softmax(dim=1), truth)


def _focal(maps: Tensor, truth: Tensor) -> Tensor:
    surprise = binary_cross_entropy_with_logits(maps, truth, reduction="none")
    right = torch.exp(-surprise)  # the probability of what is true
    share = FOCAL_SHARE * truth + (1 - FOCAL_SHARE) * (1 - truth)
    return (share * (1 - right) ** FOCAL_POWER * surprise).mean()


def _dice(maps: Tensor, truth: Tensor) -> Tensor:
    overlap = (maps * truth).sum(dim=(2, 3))  # (n, 2)
    total = maps.sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    losses = 1 - (2 * overlap + SMOOTH) / (total + SMOOTH)
    return losses.sum(dim=1).mean()


def _tiny(values: Tensor) -> float:
    return torch.finfo(values.dtype).tiny
