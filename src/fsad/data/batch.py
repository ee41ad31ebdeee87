"""What a loader hands out: images of a role, and the ground truth of test images."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class ImageBatch(NamedTuple):
    """Images of one role, or of several together.

    Attributes:
        image: ``(n, 3, S, S)`` float32 in [0, 1], before the backbone's own normalisation; beside
            an image that does not fill its canvas :data:`~fsad.data.canvas.BESIDE`.
        index: Position among the role's samples, ``(n,)`` int64; of several roles, among theirs one
            after the other.
        label: Whether the image has a defect, ``(n,)`` bool; None where the role does not say.
        mask: Defective pixels, ``(n, S, S)`` bool; None where the role does not say.
    """

    image: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    label: Tensor | None = None
    mask: Tensor | None = None


class Truth(NamedTuple):
    """Ground truth of test images.

    Attributes:
        mask: Defective pixels, ``(n, S, S)`` bool.
        part: Pixels of the part, ``(n, S, S)`` bool.
        label: Whether the image has a defect, ``(n,)`` bool.
        masked: Whether ``mask`` is known; where it is not, it is all False, ``(n,)`` bool.
        misleading: Whether a score of the image's depth says nothing, ``(n,)`` bool.
        extent: Width over height, and how far its points reach or NaN, ``(n, 2)``.
        tiny: Whether its defect has less than the area of one pixel, ``(n,)`` bool.
        area: Height and width of the image on its canvas, from the upper left corner, pixels,
            ``(n, 2)`` int64.
        index: Position in the test samples, ``(n,)`` int64.
    """

    mask: Tensor
    part: Tensor
    label: Tensor
    masked: Tensor
    misleading: Tensor
    extent: Tensor
    tiny: Tensor
    area: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index


def stack_images(images: Sequence[ImageBatch]) -> ImageBatch:
    """Put single images, without their first axis, into one batch; all or none have a label."""
    columns = zip(*images, strict=True)
    return ImageBatch(*(_stacked(column) for column in columns))  # type: ignore[arg-type]


def _stacked(column: Sequence[Tensor | None]) -> Tensor | None:
    values = [value for value in column if value is not None]
    return torch.stack(values) if values else None
