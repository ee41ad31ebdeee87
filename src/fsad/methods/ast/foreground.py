"""Where the part is in a depth image: what differs from the plane through the corners."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fsad.errors import check_shape

CORNER = 1 / 32  # of the image's side: the squares whose medians are the plane's corners


def corner_plane(depth: Tensor) -> Tensor:
    """Interpolate depth bilinearly between the medians of the four corners.

    Args:
        depth: ``(n, S, S)``.

    Returns:
        ``(n, S, S)``; a plane where the corners lie in one.
    """
    size = check_shape("depth", depth, "n s s")["s"]
    side = max(1, round(CORNER * size))
    ends = slice(None, side), slice(-side, None)
    corners = [depth[:, rows, columns] for rows in ends for columns in ends]
    # Sorted, for ONNX has no median and torch's is not deterministic on a GPU.
    medians = torch.stack(
        [each.flatten(1).sort(dim=1).values[:, (side**2 - 1) // 2] for each in corners], dim=1
    )
    squares = medians.view(-1, 1, 2, 2)
    # Its end values belong to the centres of the corner squares, a difference of a share of CORNER.
    return interpolate(squares, size=(size, size), mode="bilinear", align_corners=True)[:, 0]


def foreground(depth: Tensor, threshold: float) -> Tensor:
    """Tell what stands out of, or lies below, the plane through the corners.

    Args:
        depth: ``(n, S, S)``.
        threshold: In the depth's unit, 0 or more; 0 makes everything foreground.

    Returns:
        ``(n, S, S)``, bool; all True in an image where nothing differs from the plane.

    Source:
        Rudolph et al., AST (WACV 2023), section 4.1, which has 7 mm.
    """
    if threshold == 0:
        return torch.ones_like(depth, dtype=torch.bool)
    differs = (depth - corner_plane(depth)).abs() > threshold
    return differs | ~differs.flatten(1).any(dim=1)[:, None, None]
