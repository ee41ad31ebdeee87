"""Images rotated about their middle."""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Rotate images about their middle, counter-clockwise; the corners mirror what is inside.

    Laws (``tests/functional/test_rotation.py``):

    * A quarter turn of a square image moves every pixel and changes none.
    * No pixel is made up, whatever the image's shape: all values are between the image's own.

    Args:
        images: ``(n, c, H, W)``.
        degrees: The angle.

    Returns:
        ``(n, c, H, W)``, bilinear.
    """
    if degrees == 0:
        return images
    # Two seconds, which scoring need not wait for: only the images of a bank are rotated.
    from torchvision.transforms import functional

    height, width = images.shape[2:]
    reach = math.hypot(height, width)  # of the corners, as the canvas turns around them
    mirrored = _mirrored(images, *(math.ceil((reach - side) / 2) + 1 for side in (height, width)))
    rotated = functional.rotate(mirrored, degrees, functional.InterpolationMode.BILINEAR)
    whole: Tensor = functional.center_crop(rotated, [height, width])
    return whole


def _mirrored(images: Tensor, rows: int, columns: int) -> Tensor:
    """Mirror images at their borders, as often as so many rows and columns take."""
    while rows or columns:
        height, width = images.shape[2:]
        above, beside = min(rows, height - 1), min(columns, width - 1)
        images = pad(images, (beside, beside, above, above), mode="reflect")
        rows, columns = rows - above, columns - beside
    return images


def rotate_each(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate square images about their middle, each by an angle of its own, as :func:`rotate`.

    Laws (``tests/functional/test_rotation.py``): a quarter turn moves every pixel and changes none;
    an image does not depend on the others' angles.

    Args:
        images: ``(n, c, S, S)``.
        degrees: The angles, ``(n,)``, counter-clockwise.

    Returns:
        ``(n, c, S, S)``, bilinear; the corners mirror what is inside.
    """
    angles = torch.deg2rad(degrees)
    zero = torch.zeros_like(angles)
    rows = torch.stack([angles.cos(), -angles.sin(), zero, angles.sin(), angles.cos(), zero], dim=1)
    places = affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return grid_sample(
        images, places.to(images), mode="bilinear", padding_mode="reflection", align_corners=False
    )
