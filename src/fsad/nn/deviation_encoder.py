"""The Intrinsic Deviation Encoder: learnt vectors that look at the patches of known defects."""

import math

import torch
from torch import Tensor, nn

from fsad.errors import ConfigError, check_at_least, check_shape
from fsad.runtime.randomness import seeded

HEADS = 8
DROPOUT = 0.1
NORM_EPS = 1e-8
WIDER = 4  # the feed-forward part


class DeviationEncoder(nn.Module):
    """Learnt vectors that gather the residuals of anomalous patches, and of these alone.

    One cross-attention: queries are the vectors, keys the features of the patches with their place
    in the image, values their residuals. Each sample has its own patches, whatever their number:
    where samples have fewer than others, the rest is padding that nothing looks at.

    Laws (``tests/nn/test_deviation_encoder.py``):

    * Several samples give what each gives alone.
    * The order of a sample's patches, and what its padding holds, change nothing.
    * Of 384 channels with 45 vectors it has 1,791,744 weights, as published.

    Args:
        channels: Of the features, a multiple of 8.
        vectors: How many directions it makes, m.
        seed: Of the weights.

    Raises:
        ConfigError: ``vectors`` is below 1, or ``channels`` cannot be shared out among 8 heads.

    Source:
        IDEAL (arXiv 2605.23231), eqs. (5)-(6). Departure: padding is told for each sample; the
        release repeats masks in another order than attention reads them.
    """

    def __init__(self, channels: int, vectors: int = 45, seed: int = 0) -> None:
        super().__init__()
        check_at_least("vectors", vectors, 1)
        if channels % HEADS:
            raise ConfigError(
                f"backbone: expected a multiple of {HEADS} channels, one share for each head of "
                f"attention, got {channels}. Choose another backbone."
            )
        with seeded(seed, "deviation encoder"):
            self.vectors = nn.Parameter(torch.randn(vectors, channels))
            self.attention = nn.MultiheadAttention(channels, HEADS, DROPOUT, batch_first=True)
            self.attention_norm = nn.LayerNorm(channels, NORM_EPS)
            self.widen = nn.Linear(channels, WIDER * channels)
            self.narrow = nn.Linear(WIDER * channels, channels)
            self.norm = nn.LayerNorm(channels, NORM_EPS)

    def forward(self, keys: Tensor, residuals: Tensor, present: Tensor) -> Tensor:
        """Return the directions of defects.

        Args:
            keys: Features of anomalous patches plus :func:`sine_positions`, ``(n, l, c)``.
            residuals: Of the same patches, ``(n, l, c)``.
            present: Which rows are patches and no padding, ``(n, l)``, bool, one at least in each.

        Returns:
            ``(n, m, c)``.

        Raises:
            ShapeError: The shapes do not fit.
            ConfigError: A sample has no patch.
        """
        sizes = check_shape("keys", keys, "n l c")
        check_shape("residuals", residuals, "n l c", **sizes)
        check_shape("present", present, "n l", n=sizes["n"], l=sizes["l"])
        if not torch.compiler.is_exporting() and not bool(present.any(dim=1).all()):
            raise ConfigError("present: expected a patch in each sample, got a sample without any")
        queries = self.vectors.expand(sizes["n"], -1, -1)
        gathered, _ = self.attention(
            queries, keys, residuals, key_padding_mask=~present, need_weights=False
        )
        vectors = self.attention_norm(queries + gathered)  # eq. (5)
        widened = nn.functional.gelu(self.widen(vectors))
        out: Tensor = self.norm(vectors + self.narrow(widened))  # eq. (6)
        return out


def sine_positions(grid: tuple[int, int], channels: int) -> Tensor:
    """Return what tells the places of a grid apart: half of the channels for each of two axes.

    Law (``tests/nn/test_deviation_encoder.py``): no two places are alike, and a place has the same
    row in whatever image it is.

    Args:
        grid: Height and width.
        channels: A multiple of 4.

    Returns:
        ``(h * w, channels)``, row by row of the grid, in [-1, 1].

    Source:
        Carion et al., End-to-end object detection with transformers (2020), as IDEAL uses it.
    """
    quarter = channels // 4
    rates = 10_000 ** (-torch.arange(quarter) / max(quarter, 1))

    def axis(length: int) -> Tensor:
        angles = (torch.arange(length) + 1)[:, None] / length * 2 * math.pi * rates
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    height, width = grid
    rows = axis(height)[:, None].expand(height, width, -1)
    columns = axis(width)[None].expand(height, width, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)
