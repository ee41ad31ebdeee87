"""Which patches show an object: the first principal component of an image's features."""

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from fsad.errors import check_shape

CENTRE = (1, 4)  # fifths of height and width: where an object is expected
FEW = 0.35  # of the centre's patches; with fewer the component points the other way


def foreground(features: Tensor, threshold: float, inside: Tensor | None = None) -> Tensor:
    """Tell the patches of an object from those of the background.

    An image's features are projected on their first principal component; patches beyond the
    threshold are the object. If they fill little of the image's centre, those beyond it on the
    other side are. Then the mask grows by one patch and its gaps of one patch are closed.

    Law: what is beside an image is not of the object, and changes nothing within it.

    Args:
        features: Of images, not normalised, ``(n, c, h, w)``.
        threshold: In the features' unit, 0 or more.
        inside: Which patches show an image, ``(n, h, w)``, bool, a rectangle from the upper left
            corner, not empty; omitted, all.

    Returns:
        ``(n, h, w)``, bool.

    Source:
        Damm et al., AnomalyDINO, WACV 2025, section 3.2; its threshold of 10 is for DINOv2.
    """
    sizes = check_shape("features", features, "n c h w")
    grid = sizes["h"], sizes["w"]
    if inside is None:
        inside = features.new_ones(sizes["n"], *grid, dtype=torch.bool)
    shown = inside.flatten(1)[:, :, None]  # (n, h * w, 1)
    rows = features.flatten(2).transpose(1, 2).masked_fill(~shown, 0.0)  # (n, h * w, c)
    mean = rows.sum(dim=1, keepdim=True) / shown.sum(dim=1, keepdim=True)
    rows = (rows - mean).masked_fill(~shown, 0.0)  # rows of 0 turn no component
    first = torch.linalg.svd(rows, full_matrices=False).Vh[:, 0]  # (n, c)
    along = torch.einsum("npc,nc->np", rows, first).view(-1, *grid)
    mask = along > threshold
    centre = _centre(inside)
    share = (mask & centre).float().sum(dim=(1, 2)) / centre.sum(dim=(1, 2))
    mask = torch.where((share <= FEW)[:, None, None], along < -threshold, mask)
    grown = dilated(mask.float()) * inside
    gaps = (1 - dilated(grown)) * inside  # beside an image nothing is a gap
    return (dilated(gaps) < 0.5) & inside


def _centre(inside: Tensor) -> Tensor:
    """Tell which patches are of the middle of the image, ``(n, h, w)``, bool."""
    heights, widths = (inside.any(dim=dim).sum(dim=1)[:, None] for dim in (2, 1))
    rows, columns = (
        (CENTRE[0] * sides // 5 <= places) & (places < CENTRE[1] * sides // 5)
        for sides, places in (
            (heights, torch.arange(inside.shape[1], device=inside.device)),
            (widths, torch.arange(inside.shape[2], device=inside.device)),
        )
    )
    return rows[:, :, None] & columns[:, None]


def dilated(mask: Tensor) -> Tensor:
    """Add to what is 1 its neighbours, straight and diagonal.

    Args:
        mask: 0 or 1, ``(n, h, w)``, float.

    Returns:
        ``(n, h, w)``, float.
    """
    return max_pool2d(mask[:, None], 3, stride=1, padding=1)[:, 0]
