"""Each image by itself, where its numbers would otherwise depend on the images beside it.

On a CPU PyTorch chooses how to compute by the shape it is given, and another way sums in another
order. A lone small image is convolved by its own matrix product in place of oneDNN; from 16 images
on, oneDNN has another kernel for 1 x 1; and several threads share out a small matrix product by its
rows, those of all images. Of one shape there is one way, and it is the only one that is promised.

On a GPU, and in a graph that is being exported, all images go through together: there the last bits
of an image may depend on the others.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def goes_alone(device: torch.device) -> bool:
    """Tell whether each image is to be computed by itself on a device."""
    return device.type == "cpu" and not torch.compiler.is_exporting()


def image_by_image(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return ``function(images)``, computed for each image alone on a CPU.

    Args:
        function: Gives a row for each row.
        images: ``(n, ...)``.
    """
    if not goes_alone(images.device) or len(images) <= 1:  # a graph must not ask how many
        return function(images)
    return torch.cat([function(images[row : row + 1]) for row in range(len(images))])
