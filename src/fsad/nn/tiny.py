"""The network of the shipped weights, layer by layer: timm's, for which timm need not be imported.

A prediction with the embedded backbone would wait for timm longer than for anything else.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, relu, scaled_dot_product_attention

from fsad.errors import WeightsError
from fsad.nn.settings import Size, cells_of

TIMM_NAME = "vit_tiny_patch16_224"
"""The constructor to start from; the next two make it the embedded backbone."""
ARCHITECTURE = {"patch_size": 1, "embed_dim": 128, "depth": 12, "num_heads": 4}
STEM = {"timm_name": "resnet18.tv_in1k", "stage": "layer2"}
"""The teacher's own first stages: 8 pixels to a token, as in the paper, and 128 channels."""
STATISTICS = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
"""What images are normalised with, per colour."""
PIXELS_PER_TOKEN = 8
CHANNELS, HEADS, DEPTH = 128, 4, 12


def is_tiny(timm_name: str, stem: Mapping[str, str] | None, args: Mapping[str, Any] | None) -> bool:
    """Tell whether these settings of a vision transformer are those of :class:`TinyVit`."""
    return (timm_name, stem, args) == (TIMM_NAME, STEM, ARCHITECTURE)


class TinyVit(nn.Module):
    """A vision transformer of 12 blocks and 128 channels, behind the first stages of a ResNet-18.

    Laws (``tests/nn/test_tiny.py``):

    * The names and shapes of its weights are those of timm's.
    * Of the same weights it computes the same numbers, bit for bit.

    The weights that it starts with mean nothing; the global generator is left as it was.

    Args:
        image_size: Height and width of the images, pixels, a multiple of 8.

    Source:
        Wightman, PyTorch Image Models 1.0: ``VisionTransformer``, ``HybridEmbed``, ``ResNet``.
    """

    num_prefix_tokens = 1
    embed_dim = CHANNELS

    def __init__(self, image_size: Size) -> None:
        super().__init__()
        rows, columns = cells_of(image_size, PIXELS_PER_TOKEN)
        with torch.random.fork_rng(devices=[]):
            self.cls_token = nn.Parameter(torch.zeros(1, 1, CHANNELS))
            self.pos_embed = nn.Parameter(torch.zeros(1, 1 + rows * columns, CHANNELS))
            self.patch_embed = _StemEmbed((rows, columns))
            self.blocks = nn.Sequential(*(_Block() for _ in range(DEPTH)))
            self.norm = nn.LayerNorm(CHANNELS, eps=1e-6)

    def embed(self, images: Tensor) -> Tensor:
        """Make tokens of normalised images ``(n, 3, H, W)``: ``(n, 1 + h * w, c)``."""
        patches = self.patch_embed(images)
        special = self.cls_token.expand(patches.shape[0], -1, -1)
        return torch.cat([special, patches], dim=1) + self.pos_embed

    def fit(self, state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
        """Resample a state dict's position embeddings to this network's patch grid.

        Args:
            state: The weights, of images of any size.
            path: Their file, for the message.

        Raises:
            WeightsError: There are none, or they are of no square.
        """
        positions = state.get("pos_embed")
        side = 0 if positions is None or positions.dim() != 3 else math.isqrt(positions.shape[1])
        if positions is None or positions.shape[1] != 1 + side**2:
            raise WeightsError(
                f"weights '{path}': expected pos_embed of a square of patches, got something else. "
                "Choose the backbone that the file was made for, or another file."
            )
        if (side, side) == self.patch_embed.grid_size:
            return dict(state)
        special, grid = positions[:, :1], positions[:, 1:]
        image = grid.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
        image = interpolate(image, self.patch_embed.grid_size, mode="bicubic", antialias=True)
        grid = image.permute(0, 2, 3, 1).reshape(1, -1, grid.shape[-1]).to(grid.dtype)
        return {**state, "pos_embed": torch.cat([special, grid], dim=1)}


class _StemEmbed(nn.Module):
    """Tokens out of a CNN: ``(n, 3, H, W)`` to ``(n, h * w, c)``."""

    def __init__(self, grid_size: tuple[int, int]) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.backbone = _Stem()
        self.proj = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, images: Tensor) -> Tensor:
        projected: Tensor = self.proj(self.backbone(images))
        return projected.flatten(2).transpose(1, 2)


class _Stem(nn.Module):
    """ResNet-18 as far as ``layer2``: ``(n, 3, H, W)`` to ``(n, 128, H / 8, W / 8)``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(_BasicBlock(64, 64, 1), _BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(_BasicBlock(64, 128, 2), _BasicBlock(128, 128, 1))

    def forward(self, images: Tensor) -> Tensor:
        features = self.maxpool(relu(self.bn1(self.conv1(images)), inplace=True))
        return self.layer2(self.layer1(features))  # type: ignore[no-any-return]


class _BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and what goes past them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            shrunk = nn.Conv2d(before, after, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shrunk, nn.BatchNorm2d(after))

    def forward(self, features: Tensor) -> Tensor:
        inner = relu(self.bn1(self.conv1(features)), inplace=True)
        inner = self.bn2(self.conv2(inner))
        return relu(inner + self.downsample(features), inplace=True)


class _Block(nn.Module):
    """A transformer's block, each half behind a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(CHANNELS, eps=1e-6)
        self.attn = _Attention()
        self.norm2 = nn.LayerNorm(CHANNELS, eps=1e-6)
        self.mlp = _Mlp()

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Every token looks at every one, with each of its heads."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(CHANNELS, 3 * CHANNELS)
        self.proj = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, tokens: Tensor) -> Tensor:
        n, v, c = tokens.shape
        heads = self.qkv(tokens).reshape(n, v, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(*heads.unbind(0))
        return self.proj(seen.transpose(1, 2).reshape(n, v, c))  # type: ignore[no-any-return]


class _Mlp(nn.Module):
    """Each token by itself: one hidden layer, four times as wide."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(CHANNELS, 4 * CHANNELS)
        self.fc2 = nn.Linear(4 * CHANNELS, CHANNELS)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(gelu(self.fc1(tokens)))  # type: ignore[no-any-return]
