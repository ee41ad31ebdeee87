"""Backbones small enough for tests."""

from pathlib import Path

import torch
from torch import Tensor

from fsad.nn.backbone import CnnExtractor, VitExtractor

SMALL = {"patch_size": 8, "embed_dim": 48, "depth": 4, "num_heads": 3}


def vit(**changes) -> VitExtractor:
    """Build a vision transformer of four blocks, eight by eight patches of 48 channels."""
    arguments = {
        "name": "small",
        "timm_name": "vit_tiny_patch16_224",
        "image_size": 64,
        "layers": [1, 2],
        "pretrained": False,
        "model_args": SMALL,
    }
    return VitExtractor(**(arguments | changes))


def cnn(**changes) -> CnnExtractor:
    """Build a ResNet-18 up to its third stage, eight by eight patches of 384 channels."""
    arguments = {
        "name": "resnet18",
        "timm_name": "resnet18.tv_in1k",
        "image_size": 64,
        "layers": ["layer1", "layer2"],
        "pretrained": False,
    }
    return CnnExtractor(**(arguments | changes))


def images(count: int = 2, size: int = 64, seed: int = 0) -> Tensor:
    """Draw images with values in [0, 1]."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def saved(state: dict[str, Tensor], path: Path) -> str:
    """Save a state dict with torch and return the path as text."""
    torch.save(state, path)
    return str(path)
