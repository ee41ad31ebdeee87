"""Perturbing the style of feature maps: channel statistics shifted and stretched (eqs. 3-6).

Shapes: ``n`` images, ``c`` channels, ``h w`` patch grid.
"""

from torch import Tensor

from fsad.errors import ShapeError, check_shape


def perturb_style(features: Tensor, p_avg: Tensor, p_std: Tensor) -> Tensor:
    r"""Shift every channel's mean and stretch its spread.

    .. math:: \omega(F) = (1 + P_{std})\,F + (P_{avg} - P_{std})\,\operatorname{avg}(F)

    which is the re-normalisation
    :math:`(1+P_{std})\operatorname{std}(F)\,\frac{F-\operatorname{avg}(F)}{\operatorname{std}(F)}
    + (1+P_{avg})\operatorname{avg}(F)` with the division cancelled, so that a constant channel is
    no special case.

    Laws:

    * Zero factors change nothing.
    * With factors per channel, the mean becomes :math:`(1+P_{avg})` and the standard deviation
      :math:`|1+P_{std}|` times what it was.

    Args:
        features: Feature maps, ``(n, c, h, w)``.
        p_avg: Factors of the mean, broadcastable to ``features``: ``(n, c, 1, 1)`` per channel, or
            ``(n, 1, h, w)`` per cell.
        p_std: Factors of the standard deviation, shaped like ``p_avg``.

    Returns:
        Perturbed feature maps, ``(n, c, h, w)``.

    Raises:
        ShapeError: The factors do not broadcast to the features.

    Source:
        HyperTrans, eq. (6), from eqs. (3)-(5).
    """
    check_shape("features", features, "n c h w")
    for name, factors in (("p_avg", p_avg), ("p_std", p_std)):
        fits = factors.ndim == 4 and all(
            have in (1, want) for have, want in zip(factors.shape, features.shape, strict=True)
        )
        if not fits:
            raise ShapeError(
                f"{name}: expected a shape that broadcasts to {tuple(features.shape)}, "
                f"got {tuple(factors.shape)}"
            )
    average = features.mean(dim=(2, 3), keepdim=True)  # eq. (3): (n, c, 1, 1)
    return (1 + p_std) * features + (p_avg - p_std) * average  # eq. (6)
