"""From distances to anomaly scores and maps (eqs. 12-19); higher = more anomalous throughout."""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from fsad.errors import ShapeError, check_fraction, check_shape
from fsad.functional.distance import nearest
from fsad.functional.prepared import PreparedBank

BLUR_TRUNCATE = 4.0  # standard deviations after which the Gaussian is cut


def patch_scores(features: Tensor, bank: Tensor | PreparedBank) -> Tensor:
    """Score every patch by the distance to its nearest bank row.

    Laws: a bank member scores 0; a larger bank never scores higher.

    Args:
        features: Patch features, ``(n, c, h, w)``.
        bank: Memory bank, ``(b, c)``; prepared, if many images are scored against it.

    Returns:
        Patch scores, ``(n, h, w)``, 0 or more, in the features' unit.

    Raises:
        ShapeError: The channels differ.

    Source:
        HyperTrans, eqs. (12)-(15). Departure: the equations take the largest *similarity*, by which
        the most normal patch would be the most anomalous; distance has the sign that is meant.

    Examples:
        >>> import torch
        >>> import fsad
        >>> features = torch.tensor([[0.0, 1.0], [2.0, 5.0]]).view(1, 1, 2, 2)  # n c h w
        >>> fsad.patch_scores(features, bank=torch.tensor([[0.0], [2.0]])).tolist()
        [[[0.0, 1.0], [0.0, 3.0]]]
    """
    sizes = check_shape("features", features, "n c h w")
    queries = features.permute(0, 2, 3, 1).reshape(-1, sizes["c"])
    distances, _ = nearest(queries, bank)
    return distances.view(sizes["n"], sizes["h"], sizes["w"])


def image_scores(patches: Tensor) -> Tensor:
    """Score an image by its most anomalous patch: ``(n, h, w)`` to ``(n,)``.

    Source: HyperTrans, eqs. (12)-(15).
    """
    check_shape("patch scores", patches, "n h w")
    return patches.amax(dim=(1, 2))


def top_mean(patches: Tensor, share: float) -> Tensor:
    """Score images by the mean of their worst patches, at least one.

    Args:
        patches: Patch scores, ``(n, h, w)``.
        share: Of the patches, in (0, 1].

    Returns:
        ``(n,)``; higher = more anomalous.
    """
    flat = patches.flatten(1)
    count = max(1, math.floor(share * flat.shape[1]))
    return flat.topk(count, dim=1).values.mean(dim=1)


def anomaly_maps(patches: Tensor, size: int, sigma: float = 4.0) -> Tensor:
    """Enlarge patch scores to pixels: bilinear, then a Gaussian.

    Law: constant scores give the same constant everywhere.

    Args:
        patches: Patch scores, ``(n, h, w)``.
        size: Height and width of the map in pixels, S.
        sigma: Standard deviation of the Gaussian in pixels; 0 leaves it out.

    Returns:
        Anomaly maps, ``(n, S, S)``, in the unit of ``patches``.

    Source:
        HyperTrans, section 4.1; PatchCore (Roth et al., 2022).

    Examples:
        >>> import torch
        >>> import fsad
        >>> patches = torch.zeros(1, 4, 4)
        >>> patches[0, 1, 2] = 1.0
        >>> maps = fsad.anomaly_maps(patches, size=32)
        >>> maps.shape, divmod(int(maps[0].argmax()), 32)  # row and column of the maximum
        (torch.Size([1, 32, 32]), (11, 20))
    """
    check_shape("patch scores", patches, "n h w")
    maps = interpolate(patches[:, None], size=(size, size), mode="bilinear", align_corners=False)
    return blur(maps[:, 0], sigma)


def blur(maps: Tensor, sigma: float) -> Tensor:
    r"""Smooth maps ``(n, H, W)`` with a Gaussian of ``sigma`` pixels, mirrored at the border.

    The Gaussian is separable, so two one-dimensional passes do the work of a square kernel:

    .. math:: g_i = \frac{e^{-(i / \sigma)^2 / 2}}{\sum_{j=-r}^{r} e^{-(j / \sigma)^2 / 2}}

    Law: it equals two calls of torchvision's ``gaussian_blur``, bit for bit. That library's import
    takes as long as torch's own, which a prediction need not wait for.

    Args:
        maps: ``(n, H, W)``.
        sigma: Standard deviation in pixels, 0 or more; 0 leaves the maps as they are.
    """
    if sigma == 0:
        return maps
    reach = min(math.ceil(BLUR_TRUNCATE * sigma), min(maps.shape[-2:]) - 1)
    weights = _gaussian(reach, sigma, maps)
    mirrored = pad(maps[:, None], [0, 0, reach, reach], mode="reflect")
    columns = conv2d(mirrored, weights[None, None, :, None])
    mirrored = pad(columns, [reach, reach, 0, 0], mode="reflect")
    return conv2d(mirrored, weights[None, None, None])[:, 0]


def _gaussian(reach: int, sigma: float, like: Tensor) -> Tensor:
    """Return the weights of ``-reach`` to ``reach`` pixels, of sum 1, in the kind of ``like``."""
    steps = torch.linspace(-reach, reach, 2 * reach + 1, dtype=like.dtype, device=like.device)
    heights = torch.exp(-0.5 * (steps / sigma).pow(2))
    return heights / heights.sum()


def fuse(source: Tensor, target: Tensor, beta: float) -> Tensor:
    """Mix both domains' scores or maps: ``beta`` times source plus the rest target.

    Args:
        source: Scores against the source bank, any shape.
        target: Scores against the target bank, same shape.
        beta: Share of the source domain, in [0, 1].

    Raises:
        ConfigError: ``beta`` is not in [0, 1].
        ShapeError: The shapes differ.

    Source:
        HyperTrans, eqs. (18)-(19).
    """
    check_fraction("beta", beta)
    if source.shape != target.shape:
        raise ShapeError(
            f"target scores: expected {tuple(source.shape)}, as the source's, "
            f"got {tuple(target.shape)}"
        )
    return beta * source + (1 - beta) * target  # eq. (18), (19)
