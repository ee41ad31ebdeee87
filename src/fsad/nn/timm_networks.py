"""Networks out of timm. The only import of timm, which takes seconds."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.layers.hybrid_embed import HybridEmbed
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import FeatureListNet, VisionTransformer
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from fsad.errors import ConfigError, WeightsError, check_choice, message_of
from fsad.nn.positions import POSITIONS


def create_vit(
    timm_name: str, seed: int, stem: Mapping[str, str] | None = None, **arguments: Any
) -> Any:
    """Create one of timm's vision transformers, without a head; see :func:`_create`.

    Args:
        timm_name: As for :func:`_create`.
        seed: As for :func:`_create`.
        **arguments: As for :func:`_create`.
        stem: A CNN that makes tokens of pixels, in place of one convolution: timm's hybrid
            embedding. ``timm_name``, and ``stage``, the name of the last stage used.
    """
    arguments = {**arguments, "num_classes": 0}
    if stem is not None:
        arguments["embed_layer"] = partial(HybridEmbed, backbone=_create_stem(seed, **stem))
    return _create(
        timm_name,
        seed,
        arguments,
        VisionTransformer,
        "one of timm's VisionTransformers",
        "A CNN needs fsad.nn.backbone.CnnExtractor.",
    )


def _create_stem(seed: int, timm_name: str, stage: str) -> nn.Module:
    setting = "backbone.stem.timm_name"
    stages = list(create_cnn(timm_name, seed, setting).return_layers)
    number = stages.index(check_choice("backbone.stem.stage", stage, stages))
    stem: nn.Module = create_cnn(timm_name, seed, setting, out_indices=(number,))
    return stem


def pixels_per_token(net: VisionTransformer) -> int:
    """Return the height and width, in pixels, of what becomes a token."""
    embed: Any = net.patch_embed
    size: int = embed.patch_size[0]
    if isinstance(embed, HybridEmbed):
        stem: Any = embed.backbone
        size *= stem.feature_info.reduction()[-1]
    return size


def create_cnn(
    timm_name: str, seed: int, setting: str = "backbone.timm_name", **arguments: Any
) -> Any:
    """Create one of timm's CNNs as a sequence of stages; see :func:`_create`.

    timm makes EfficientNets and MobileNets of one piece, unless it is told to list their stages.
    """
    create = partial(
        _create,
        timm_name,
        seed,
        kind=(FeatureListNet, EfficientNetFeatures, MobileNetV3Features),
        wanted="a CNN that timm runs stage by stage",
        remedy="A vision transformer needs fsad.nn.backbone.VitExtractor.",
        setting=setting,
    )
    arguments = {**arguments, "features_only": True}
    net = create(arguments)
    if isinstance(net, FeatureListNet):
        return net
    return create({**arguments, "feature_cfg": {"feature_cls": "list", "flatten_sequential": True}})


def _create(
    timm_name: str,
    seed: int,
    arguments: Mapping[str, Any],
    kind: type[nn.Module] | tuple[type[nn.Module], ...],
    wanted: str,
    remedy: str,
    setting: str = "backbone.timm_name",
) -> nn.Module:
    """Create one of timm's models with seeded random weights.

    Args:
        timm_name: The model's name in timm, with its tag.
        seed: Seed of the weights; the global generator is left as it was.
        arguments: What timm's constructor is given.
        kind: What the model must be; one of several.
        wanted: The same in words, for the message.
        remedy: What to do with another kind of model.
        setting: Where the name was given, for the message.

    Raises:
        ConfigError: timm cannot create it, or it is of another kind.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            net: nn.Module = timm.create_model(timm_name, **arguments)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{setting}: expected a model of timm that takes {arguments}, "
                f"got '{timm_name}' ({message_of(error)})"
            ) from error
    if not isinstance(net, kind):
        raise ConfigError(f"{setting}: expected {wanted}, got '{timm_name}'. {remedy}")
    return net


def pixel_statistics(net: nn.Module) -> dict[str, tuple[float, ...]]:
    """Return the ``mean`` and ``std`` per colour that a network of timm was trained with."""
    constants = resolve_model_data_config(net)  # type: ignore[no-untyped-call]
    return {key: tuple(constants[key]) for key in ("mean", "std")}


def convert_vit(
    net: VisionTransformer, state: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Give weights timm's key names, and position embeddings the size of ``net``'s patch grid.

    Args:
        net: One of timm's vision transformers.
        state: Its weights, perhaps under the names of DINOv2's authors or for other image sizes.
        path: The file, for the message.

    Raises:
        WeightsError: timm cannot make sense of them.
    """
    try:
        converted: dict[str, Tensor] = checkpoint_filter_fn(dict(state), net)
    except Exception as error:  # a file can hold anything under the names timm looks for
        raise WeightsError(
            f"weights '{path}': expected those of a vision transformer, got something that timm "
            f"cannot convert ({message_of(error)})"
        ) from error
    height, width = net.patch_embed.grid_size
    positions = converted.get(POSITIONS)
    is_stretched = positions is not state.get(POSITIONS)
    special = 0 if net.no_embed_class else net.num_prefix_tokens
    # Older timm stretches only where the numbers of patches differ; 14 x 14 are as many as 7 x 28.
    if (
        positions is not None
        and not is_stretched
        and height != width
        and positions.shape[1] - special == height * width == math.isqrt(height * width) ** 2
    ):
        converted[POSITIONS] = resample_abs_pos_embed(
            positions, [height, width], num_prefix_tokens=special
        )
    patches = "patch_embed.proj.weight"
    if patches in state:  # timm would stretch another patch size: that is another architecture
        converted[patches] = state[patches]
    return converted
