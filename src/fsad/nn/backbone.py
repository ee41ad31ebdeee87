"""Frozen backbones out of timm, behind one interface: vision transformers and stage-wise CNNs."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fsad.errors import check_choice, check_odd
from fsad.nn.extractor import After, PatchExtractor, State
from fsad.nn.positions import POSITIONS, stretch_positions
from fsad.nn.settings import (
    Size,
    blocks_within,
    cells_of,
    check_image_size,
    check_settings,
    in_order,
    stages_within,
)
from fsad.nn.state_dict import load_weights, read_weights
from fsad.nn.tiny import is_tiny
from fsad.nn.vit_network import VitNetwork, timms_vit, tiny_vit
from fsad.nn.weights import find_weights

MERGES = ("mean", "concat")
POSITION_RESIZES = ("published", "timm")
HEADS = ("fc.", "head.", "classifier.", "conv_head.", "bn2.", "norm_head.")
"""What files of CNNs hold of what follows the last stage."""

log = logging.getLogger(__name__)

__all__ = ["CnnExtractor", "PatchExtractor", "VitExtractor"]


class VitExtractor(PatchExtractor):
    """Patch features of a vision transformer: its last block, through the final norm.

    Token ``i`` after the class and register tokens is cell ``(i // w, i % w)`` of the grid.
    ``after`` sees patch features only; the class and register tokens pass by it untouched.
    Position embeddings made for another image size are resampled.

    Args:
        name: What the user calls the backbone.
        timm_name: The model's name in timm, with its tag.
        image_size: Height and width of the images, pixels, a multiple of the patch size.
        layers: Numbers of the perturbable blocks, from 0; block 3 is called ``block3``.
        pretrained: Take the weights that are shipped, else timm's published ones, unless there is
            a ``weights_path``.
        weights_path: A file of weights.
        shipped: Name of a file of weights in this package.
        stem: A CNN that makes tokens of pixels, in place of one convolution: its ``timm_name``, and
            its last ``stage`` used.
        normalize_depth: Whether depth is normalised as photographs always are.
        model_args: Further arguments of timm's constructor; they make an architecture of our own,
            for which no weights are published.
        features: Which blocks' outputs are the features: their numbers, or a window of two
            fractions of the depth, see :func:`~fsad.nn.settings.blocks_within`. Each token of each
            block is normalised to mean 0 and variance 1. None is the last block through the final
            norm. Blocks after the last one chosen are not run, nor perturbed.
        merge: How several blocks become one: their ``mean``, or ``concat``, channel by channel.
        position_resize: How position embeddings become those of another image size: as DINOv2's
            authors do it, ``published``, or as timm does.
        seed: Seed of random weights.
        compile: Compile the blocks by ``torch.compile`` when they first run: some ten seconds
            then, less time for each image after.

    Raises:
        ConfigError: An argument is out of range, or timm has no such vision transformer.
        WeightsError: The weights cannot be had, or do not fit.
    """

    def __init__(
        self,
        name: str,
        timm_name: str,
        image_size: Size,
        layers: Sequence[int],
        pretrained: bool = True,
        weights_path: str | None = None,
        shipped: str | None = None,
        stem: Mapping[str, str] | None = None,
        normalize_depth: bool = True,
        model_args: Mapping[str, Any] | None = None,
        features: Sequence[int] | Sequence[float] | None = None,
        merge: str = "mean",
        position_resize: str = "timm",
        seed: int = 0,
        compile: bool = False,
    ) -> None:
        check_settings(image_size, pretrained, normalize_depth, compile)
        check_choice("backbone.merge", merge, MERGES)
        check_choice("backbone.position_resize", position_resize, POSITION_RESIZES)
        is_shipped = pretrained and weights_path is None and shipped is not None
        network: VitNetwork = (
            tiny_vit(image_size)
            if is_shipped and is_tiny(timm_name, stem, model_args)
            else timms_vit(timm_name, seed, stem, image_size, model_args or {})
        )
        net = network.net
        blocks = in_order("backbone.layers", layers, range(len(net.blocks)))
        read = blocks_within("backbone.features", features, len(net.blocks))
        last = read[-1] if read else len(net.blocks) - 1
        dropped = [f"block{number}" for number in range(last + 1, len(net.blocks))]
        _log_dropped(name, f"block{last}", dropped)
        blocks = [number for number in blocks if number <= last]
        published = {} if model_args or stem else net.pretrained_cfg
        weights, path = find_weights(
            name, published, pretrained=pretrained, path=weights_path, shipped=shipped
        )
        if path is not None:
            state = read_weights(path)
            if position_resize == "published":
                state = stretch_positions(state, net.patch_embed.grid_size, net.num_prefix_tokens)
            fitted = network.fit(state, path)
            known = state.get(POSITIONS)
            if position_resize == "published" and known is not None and known.dim() == 3:
                # timm takes any 28 x 28 positions for a square's, those of 14 x 56 patches too
                fitted[POSITIONS] = (
                    known if known.shape == net.pos_embed.shape else fitted[POSITIONS]
                )
            load_weights(net, fitted, path=path, architecture=timm_name, unused=("head.",))
        super().__init__(
            net,
            name=name,
            image_size=image_size,
            grid=net.patch_embed.grid_size,
            cell=None,
            channels=net.embed_dim * (len(read) if read and merge == "concat" else 1),
            layers={f"block{number}": net.embed_dim for number in blocks},
            normalize_depth=normalize_depth,
            weights=weights,
            architecture={
                "timm": timm_name,
                "args": dict(model_args or {}),
                "stem": dict(stem or {}),
                "layers": blocks,
                "compile": compile,
                **({"features": read, "merge": merge} if read else {}),
            },
            **network.statistics,
        )
        for block in net.blocks if compile else ():
            block.compile()
        self._embed = network.embed
        self._special: int = net.num_prefix_tokens
        self._read, self._merge, self._last = read, merge, last
        self._first = blocks[0] if blocks else last

    def _prefix(self, images: Tensor) -> State:
        net: Any = self.net
        tokens, kept = self._embed(net, images), []
        for number in range(self._first + 1):
            tokens = net.blocks[number](tokens)
            if number in self._read and number < self._first:
                kept.append(tokens)
        return (tokens, *kept)

    def _suffix(self, state: State, after: After | None) -> Tensor:
        net: Any = self.net
        tokens, *kept = state
        for number in range(self._first, self._last + 1):
            if number > self._first:  # the prefix ran the first one
                tokens = net.blocks[number](tokens)
            if after is not None and f"block{number}" in self.layers:
                features = self._changed(f"block{number}", self._on_grid(tokens), after)
                patches = features.flatten(2).transpose(1, 2)
                tokens = torch.cat([tokens[:, : self._special], patches], dim=1)
            if number in self._read:
                kept.append(tokens)
        if not self._read:
            return self._on_grid(net.norm(tokens))
        layers = [self._on_grid(functional.layer_norm(it, it.shape[-1:])) for it in kept]
        if self._merge == "concat":
            return torch.cat(layers, dim=1)
        return torch.stack(layers).mean(dim=0)

    def _on_grid(self, tokens: Tensor) -> Tensor:
        patches = tokens[:, self._special :].transpose(1, 2)  # (n, c, h * w)
        return patches.reshape(*patches.shape[:2], *self.grid)


class CnnExtractor(PatchExtractor):
    """Patch features of a CNN: chosen stages, averaged over 3 x 3 cells, on one grid.

    Outside are zeros. ``pool=1`` leaves the averages out. Coarser maps are resized bilinearly to
    the first stage's grid.
    ``after`` changes a stage's own output: the feature and the next stage's input.

    Args:
        name: As for :class:`VitExtractor`, like all that is not listed.
        image_size: Height and width of the images, pixels, a multiple of the last stage's stride.
        layers: Names of the perturbable stages, such as ``layer1``.
        stages: Which stages' outputs are the features: their names, or a window of two fractions of
            the depth, counted in stages, see :func:`~fsad.nn.settings.stages_within`. The network
            ends at the last one chosen.
        weights_path: A file of weights, of the whole network or as far as the last stage.
        pool: Cells in a row that are averaged, an odd number.
        shipped: Name of a file of weights in this package, of which those behind ``prefix`` are
            the network's, as far as its last stage.
        prefix: Put before the names of the network's weights in that file.

    Raises:
        ConfigError: An argument is out of range, or timm has no such CNN.

    Source:
        PatchCore (Roth et al., CVPR 2022), locally aware patch features.
    """

    any_size = True

    def __init__(
        self,
        name: str,
        timm_name: str,
        image_size: Size,
        layers: Sequence[str],
        stages: Sequence[str] | Sequence[float] = ("layer2", "layer3"),
        pretrained: bool = True,
        weights_path: str | None = None,
        normalize_depth: bool = True,
        model_args: Mapping[str, Any] | None = None,
        seed: int = 0,
        compile: bool = False,
        pool: int = 3,
        shipped: str | None = None,
        prefix: str = "",
    ) -> None:
        from fsad.nn.timm_networks import create_cnn, pixel_statistics  # seconds

        check_settings(image_size, pretrained, normalize_depth, compile)
        check_odd("backbone.pool", pool)
        net = create_cnn(timm_name, seed, **(model_args or {}))
        channels = dict(zip(net.return_layers, net.feature_info.channels(), strict=True))
        strides = dict(zip(net.return_layers, net.feature_info.reduction(), strict=True))
        chosen = stages_within("backbone.stages", stages, list(channels))
        check_image_size(image_size, strides[chosen[-1]])
        children = list(net)
        used = children[: children.index(chosen[-1]) + 1]
        perturbable = in_order(
            "backbone.layers", layers, [name for name in channels if name in used]
        )
        unused = children[len(used) :]
        _log_dropped(name, chosen[-1], unused)
        published = {} if model_args else net.pretrained_cfg
        weights, path = find_weights(
            name, published, pretrained=pretrained, path=weights_path, shipped=shipped
        )
        for child in unused:
            del net[child]
        if path is not None:
            stored = read_weights(path)
            if weights == "shipped":
                stored = {
                    key.removeprefix(prefix): value
                    for key, value in stored.items()
                    if key.startswith(prefix)
                }
            state = {_flat(key, children): value for key, value in stored.items()}
            rest = (*(f"{child}." for child in unused), *HEADS)
            load_weights(net, state, path=path, architecture=timm_name, unused=rest)
        super().__init__(
            net,
            name=name,
            image_size=image_size,
            grid=cells_of(image_size, strides[chosen[0]]),
            cell=strides[chosen[-1]],
            channels=sum(channels[stage] for stage in chosen),
            layers={layer: channels[layer] for layer in perturbable},
            normalize_depth=normalize_depth,
            weights=weights,
            architecture={
                "timm": timm_name,
                "args": dict(model_args or {}),
                "stages": chosen,
                "layers": perturbable,
                "compile": compile,
                **({} if pool == 3 else {"pool": pool}),
            },
            **pixel_statistics(net),
        )
        for name in used if compile else ():
            net[name].compile()
        self._stages, self._pool = chosen, pool
        first = used.index(perturbable[0]) if perturbable else len(used) - 1
        self._before, self._first, self._later = used[:first], used[first], used[first + 1 :]

    def _prefix(self, images: Tensor) -> State:
        net: Any = self.net
        features, maps = images, []
        for name in self._before:
            features = net[name](features)
            if name in self._stages:
                maps.append(features)
        return (net[self._first](features), *maps)

    def _suffix(self, state: State, after: After | None) -> Tensor:
        net: Any = self.net
        features, *maps = state
        for name in (self._first, *self._later):
            if name != self._first:  # the prefix ran the first one
                features = net[name](features)
            features = self._changed(name, features, after)
            if name in self._stages:
                maps.append(features)
        width = self._pool
        pooled = [
            functional.avg_pool2d(stage, width, stride=1, padding=width // 2)
            if width > 1
            else stage
            for stage in maps
        ]
        grid = pooled[0].shape[2:]
        resized = [functional.interpolate(stage, grid, mode="bilinear") for stage in pooled]
        return torch.cat(resized, dim=1)


def _log_dropped(name: str, last: str, dropped: Sequence[str]) -> None:
    """Say what of a network is never run, since no feature comes from it or from behind it."""
    if dropped:
        log.info(
            "backbone '%s': the features end at %s; neither computed nor perturbed: %s",
            name,
            last,
            ", ".join(dropped),
        )


def _flat(key: str, children: list[str]) -> str:
    # timm lists the children of some containers one by one: stages.0.x becomes stages_0.x
    flat = key.replace(".", "_", 1)
    return flat if flat.split(".")[0] in children else key
