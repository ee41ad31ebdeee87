"""From distances to anomaly scores and maps (eqs. 12-19); higher = more anomalous throughout."""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from fsad.errors import ShapeError, check_fraction, check_shape
from fsad.functional.distance import nearest
from fsad.functional.prepared import PreparedBank

Size = int | tuple[int, int]
"""Height and width of a map, pixels; one number is both."""
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


def top_mean(patches: Tensor, share: float, inside: Tensor | None = None) -> Tensor:
    """Score images by the mean of their worst patches, at least one.

    Law: what is not inside an image changes nothing.

    Args:
        patches: Patch scores, ``(n, h, w)``.
        share: Of the patches, in (0, 1].
        inside: Which patches show an image, ``(n, h, w)``, bool; omitted, all.

    Returns:
        ``(n,)``; higher = more anomalous.
    """
    flat = patches.flatten(1)
    count = top_count(share, flat.shape[1])
    worst = lowest_beside(patches, inside).flatten(1).topk(count, dim=1).values
    if inside is None:
        return worst.mean(dim=1)
    counts = (share * inside.flatten(1).sum(dim=1)).floor().clamp(min=1)[:, None]
    taken = torch.arange(count, device=patches.device) < counts
    return torch.where(taken, worst, 0.0).sum(dim=1) / counts[:, 0]


def top_count(share: float, count: int) -> int:
    """Return how many of some patches a share of them is, at least one."""
    return max(1, math.floor(share * count))


def lowest_beside(patches: Tensor, inside: Tensor | None) -> Tensor:
    """Let no patch that is not of an image be the worst: it scores less than any.

    Args:
        patches: Patch scores, ``(n, h, w)``.
        inside: Which patches show an image, ``(n, h, w)``, bool; None: all.

    Returns:
        ``(n, h, w)``.
    """
    return patches if inside is None else patches.masked_fill(~inside, -torch.inf)


def on_grid(inside: Tensor, patches: Tensor) -> Tensor:
    """Return which patches of another grid show an image: those whose corner does.

    Args:
        inside: Which patches show an image, ``(n, h, w)``, bool.
        patches: Of the other grid, ``(n, h', w')``.

    Returns:
        ``(n, h', w')``, bool.
    """
    if inside.shape[1:] == patches.shape[1:]:
        return inside
    return interpolate(inside[:, None].float(), size=patches.shape[1:])[:, 0] > 0


def continued(patches: Tensor, inside: Tensor | None) -> Tensor:
    """Give patches beside an image the score of the nearest one that shows it.

    A map that is made of them shows near the image's border what it shows at a canvas' border.

    Args:
        patches: Patch scores, ``(n, h, w)``.
        inside: Which patches show an image, ``(n, h, w)``, bool, a rectangle from the upper left
            corner, not empty; None: all.

    Returns:
        ``(n, h, w)``; within the image as they were.
    """
    if inside is None:
        return patches
    height, width = patches.shape[1:]
    last_row = inside.any(dim=2).sum(dim=1)[:, None] - 1
    last_column = inside.any(dim=1).sum(dim=1)[:, None] - 1
    rows = torch.arange(height, device=patches.device).minimum(last_row)  # (n, h)
    columns = torch.arange(width, device=patches.device).minimum(last_column)
    filled = patches.gather(1, rows[:, :, None].expand(-1, -1, width))
    return filled.gather(2, columns[:, None].expand(-1, height, -1))


def anomaly_maps(patches: Tensor, size: Size, sigma: float = 4.0) -> Tensor:
    """Enlarge patch scores to pixels: bilinear, then a Gaussian.

    Law: constant scores give the same constant everywhere.

    Args:
        patches: Patch scores, ``(n, h, w)``.
        size: Height and width of the map in pixels, S; of one that is no square both.
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
    shape = (size, size) if isinstance(size, int) else size
    maps = interpolate(patches[:, None], size=shape, mode="bilinear", align_corners=False)
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
