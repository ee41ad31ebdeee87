"""The network that a vision transformer's settings name: the embedded one, or one of timm's."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from fsad.nn.settings import Size, check_image_size
from fsad.nn.tiny import PIXELS_PER_TOKEN, STATISTICS, TinyVit


class VitNetwork(NamedTuple):
    """A vision transformer and what has to be known of it.

    Attributes:
        net: It, with random weights.
        embed: Makes its tokens ``(n, s + h * w, c)`` of it and of images ``(n, 3, H, W)``.
        fit: Gives a file's weights the names and shapes of its own.
        statistics: The ``mean`` and ``std`` per colour that images are normalised with.
    """

    net: Any
    embed: Callable[[Any, Tensor], Tensor]
    fit: Callable[[Mapping[str, Tensor], Path], dict[str, Tensor]]
    statistics: Mapping[str, tuple[float, ...]]


def tiny_vit(image_size: Size) -> VitNetwork:
    """Create the network of the shipped weights.

    Args:
        image_size: Height and width of the images, pixels.

    Raises:
        ConfigError: ``image_size`` is no multiple of a token's.
    """
    check_image_size(image_size, PIXELS_PER_TOKEN)
    net = TinyVit(image_size)
    return VitNetwork(net, TinyVit.embed, net.fit, STATISTICS)


def timms_vit(
    timm_name: str,
    seed: int,
    stem: Mapping[str, str] | None,
    image_size: Size,
    arguments: Mapping[str, Any],
) -> VitNetwork:
    """Create one of timm's vision transformers.

    Args:
        timm_name: As for :func:`~fsad.nn.timm_networks.create_vit`, like all but ``image_size``.
        seed: Of the weights.
        stem: A CNN that makes tokens of pixels.
        image_size: Height and width of the images, pixels.
        arguments: Further ones of timm's constructor.

    Raises:
        ConfigError: timm has none such, or ``image_size`` is no multiple of a token's.
    """
    from fsad.nn import timm_networks  # seconds, which the embedded backbone need not wait for

    net = timm_networks.create_vit(timm_name, seed, stem, img_size=image_size, **arguments)
    check_image_size(image_size, timm_networks.pixels_per_token(net))
    fit = partial(timm_networks.convert_vit, net)
    return VitNetwork(net, _timms_tokens, fit, timm_networks.pixel_statistics(net))


def _timms_tokens(net: Any, images: Tensor) -> Tensor:
    tokens: Tensor = net.patch_drop(net._pos_embed(net.patch_embed(images)))
    return net.norm_pre(tokens)  # type: ignore[no-any-return]
