"""Position embeddings for images of another size, as DINOv2's authors stretch them."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate

POSITIONS = "pos_embed"
OFFSET = 0.1
"""Added to the number of patches before it becomes a scale, so that rounding never loses one."""


def stretch_positions(
    state: Mapping[str, Tensor], grid: tuple[int, int], prefix: int = 1
) -> dict[str, Tensor]:
    r"""Stretch position embeddings to a patch grid, bicubic without antialiasing.

    .. math:: p'(i) = \sum_j w \Big( \frac{i + 1/2}{s} - \frac12 - j \Big) \, p(j), \qquad
        s = \frac{n + 0.1}{M}

    along either axis, with M patches of the embeddings, n of the grid, and w Keys' cubic kernel
    with -0.75. timm takes :math:`s = n / M` and smooths first; its features at 224 pixels differ
    by some 5 % of their norm.

    Law (``tests/nn/test_positions.py``): within rounding the sum above, in float64.

    Args:
        state: A state dict with ``pos_embed``, ``(1, s + M * M, c)``, s of them of no patch.
        grid: Height and width of the patch grid, n.
        prefix: Tokens of no patch; they may have positions of their own, or not.

    Returns:
        The state dict with stretched embeddings; as it was if they fit, or are of no square.

    Source:
        Oquab et al., DINOv2 (2023): the published loading of its models.
    """
    embedding = state.get(POSITIONS)
    if embedding is None or embedding.dim() != 3:
        return dict(state)
    side = math.isqrt(embedding.shape[1])
    special = embedding.shape[1] - side**2
    if special not in (0, 1, prefix) or (side, side) == tuple(grid):
        return dict(state)
    patches = embedding[:, special:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scales = tuple((count + OFFSET) / side for count in grid)
    stretched = interpolate(patches, scale_factor=scales, mode="bicubic", antialias=False)
    rows = stretched.permute(0, 2, 3, 1).flatten(1, 2).to(embedding.dtype)
    return {**state, POSITIONS: torch.cat([embedding[:, :special], rows], dim=1)}
