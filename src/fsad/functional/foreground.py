"""Which patches show an object: the first principal component of an image's features."""

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from fsad.errors import check_shape

CENTRE = (0.2, 0.8)  # of height and width: where an object is expected
FEW = 0.35  # of the centre's patches; with fewer the component points the other way


def foreground(features: Tensor, threshold: float) -> Tensor:
    """Tell the patches of an object from those of the background.

    An image's features are projected on their first principal component; patches beyond the
    threshold are the object. If they fill little of the image's centre, those beyond it on the
    other side are. Then the mask grows by one patch and its gaps of one patch are closed.

    Args:
        features: Of images, not normalised, ``(n, c, h, w)``.
        threshold: In the features' unit, 0 or more.

    Returns:
        ``(n, h, w)``, bool.

    Source:
        Damm et al., AnomalyDINO, WACV 2025, section 3.2; its threshold of 10 is for DINOv2.
    """
    sizes = check_shape("features", features, "n c h w")
    rows = features.flatten(2).transpose(1, 2)  # (n, h * w, c)
    rows = rows - rows.mean(dim=1, keepdim=True)
    first = torch.linalg.svd(rows, full_matrices=False).Vh[:, 0]  # (n, c)
    along = torch.einsum("npc,nc->np", rows, first).view(-1, sizes["h"], sizes["w"])
    mask = along > threshold
    centre = mask[
        :,
        int(CENTRE[0] * sizes["h"]) : int(CENTRE[1] * sizes["h"]),
        int(CENTRE[0] * sizes["w"]) : int(CENTRE[1] * sizes["w"]),
    ]
    other = centre.float().mean(dim=(1, 2)) <= FEW
    mask = torch.where(other[:, None, None], along < -threshold, mask)
    grown = dilated(mask.float())
    closed = 1 - dilated(1 - dilated(grown))
    return closed > 0.5


def dilated(mask: Tensor) -> Tensor:
    """Add to what is 1 its neighbours, straight and diagonal.

    Args:
        mask: 0 or 1, ``(n, h, w)``, float.

    Returns:
        ``(n, h, w)``, float.
    """
    return max_pool2d(mask[:, None], 3, stride=1, padding=1)[:, 0]
