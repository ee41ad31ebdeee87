"""The network that is trained: timm's ViT, whose heads start by looking at neighbouring cells."""

import math
from typing import Any

import torch
from torch import Tensor

from fsad.errors import ConfigError
from fsad.nn.timm_networks import create_vit
from fsad.nn.tiny import ARCHITECTURE, STEM, TIMM_NAME
from fsad.runtime.randomness import generator

AMPLITUDE = 0.2  # of the position embeddings: as much as of the stem's features, not more
SHARPNESS = 1.5  # of the first attention, where it saw positions alone
PERIODS = (3.0, 56.0)  # of the position embeddings' waves, cells: the shortest and the longest
NEIGHBOURS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1))


def student(seed: int, image_size: int = 224) -> Any:
    """Create the network with seeded weights that make each head look at one neighbouring cell.

    See :func:`look_nearby`.

    Args:
        seed: Of all weights.
        image_size: Height and width of the largest images, pixels: so many positions it knows.
    """
    net = create_vit(TIMM_NAME, seed, stem=STEM, img_size=image_size, **ARCHITECTURE)
    look_nearby(net)
    return net


@torch.no_grad()
def take_over_stem(net: Any, teacher: Any, images: Tensor) -> None:
    """Give the student its teacher's first stages, frozen, and standardise what they say.

    Every channel of the tokens then is one of the stem's, with mean 0 and deviation ``AMPLITUDE``
    over the images.

    Args:
        net: What :func:`student` gave.
        teacher: The CNN, with these stages under the same names.
        images: ``(n, 3, H, W)``, normalised; they decide the mean and the deviation.
    """
    stem = net.patch_embed.backbone
    known = teacher.state_dict()
    stem.load_state_dict({name: known[name] for name in stem.state_dict()})
    stem.requires_grad_(False).eval()
    std, mean = torch.std_mean(stem(images)[-1], dim=(0, 2, 3))  # (c,)
    scale = torch.where(std > 1e-6, AMPLITUDE / std, 0)  # a channel that is silent stays so
    net.patch_embed.proj.weight.copy_(scale.diag()[..., None, None])
    net.patch_embed.proj.bias.copy_(-scale * mean)


@torch.no_grad()
def look_nearby(net: Any) -> None:
    r"""Start a vision transformer as a stack of convolutions: head by head, a shifted look.

    Position embeddings become waves :math:`(\cos \omega_f y, \sin \omega_f y, \cos \omega_f x,
    \sin \omega_f x)_f`. In these, a shift by :math:`\delta` is a rotation :math:`R_\delta`, so with
    queries :math:`R_\delta p_i` and keys :math:`p_j`

    .. math:: \langle R_\delta p_i, p_j \rangle
        = \sum_f \cos \omega_f (y_i + \delta_y - y_j) + \cos \omega_f (x_i + \delta_x - x_j)

    which is largest at :math:`j = i + \delta`. The nine shifts of a 3 x 3 neighbourhood are dealt
    out to the heads in turn. It is where training starts and no more: every weight is learnt. A
    network that learns from a CNN need not find out first what a neighbourhood is.

    Args:
        net: One of timm's vision transformers, its channels a multiple of 4 times its heads.

    Raises:
        ConfigError: The channels do not fit.

    Source:
        The thought of Zheng et al., Convolutional Initialization for Data-Efficient Vision
        Transformers (2024), by position waves in place of their fitted weights.
    """
    heads, c = net.blocks[0].attn.num_heads, net.embed_dim
    if c % (4 * heads):
        raise ConfigError(f"embed_dim: expected a multiple of {4 * heads}, got {c}")
    shortest, longest = (math.log10(period) for period in PERIODS)
    omega = 2 * math.pi / torch.logspace(shortest, longest, c // 4)
    height, width = net.patch_embed.grid_size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = [rows[..., None] * omega, columns[..., None] * omega]
    position = torch.stack([f(w) for w in waves for f in (torch.cos, torch.sin)], dim=-1)
    special = net.num_prefix_tokens
    net.pos_embed[:, special:] = AMPLITUDE * position.reshape(1, height * width, c)  # (1, h * w, c)
    mean_square = 2.0  # of queries and keys behind the norm, over that of the waves
    size = math.sqrt(SHARPNESS * math.sqrt(c // heads) / mean_square)
    for number, block in enumerate(net.blocks):
        query, key, _ = block.attn.qkv.weight.view(3, heads, c // heads, c)
        for head in range(heads):
            shift = NEIGHBOURS[(number * heads + head) % len(NEIGHBOURS)]
            for own, f in enumerate(range(head, c // 4, heads)):  # every head gets all scales
                rows_of = slice(4 * own, 4 * own + 4)
                columns_of = slice(4 * f, 4 * f + 4)
                key[head, rows_of, columns_of] += size * torch.eye(4)
                query[head, rows_of, columns_of] += size * _shifted(float(omega[f]), *shift)


def _shifted(omega: float, down: int, right: int) -> Tensor:
    """Return what turns a position's wave into its neighbour's, ``(4, 4)``."""
    turns = []
    for steps in (down, right):
        cos, sin = math.cos(omega * steps), math.sin(omega * steps)
        turns.append(torch.tensor([[cos, -sin], [sin, cos]]))
    turn: Tensor = torch.block_diag(*turns)  # type: ignore[no-untyped-call]
    return turn


def tokens_of(net: Any, images: Tensor, *key: int | str) -> Tensor:
    """Run the student on images of its size or smaller.

    A smaller image takes the positions of a window of the full grid, each image its own: cells
    stay as far apart as in a full image, and every position is trained.

    Args:
        net: What :func:`student` gave.
        images: ``(n, 3, H, W)``, normalised.
        key: Where the windows lie, for :func:`~fsad.runtime.randomness.generator`.

    Returns:
        Patch features behind the last norm, ``(n, h * w, c)``.
    """
    embed = net.patch_embed
    patches = embed.proj(embed.backbone(images)[-1])  # (n, c, h, w)
    n, c, h, w = patches.shape
    height, width = net.patch_embed.grid_size
    special = net.num_prefix_tokens
    grid = net.pos_embed[0, special:].view(height, width, c)
    rng = generator(*key)
    tops, lefts = rng.integers(height - h + 1, size=n), rng.integers(width - w + 1, size=n)
    windows = [
        grid[top : top + h, left : left + w].reshape(h * w, c)
        for top, left in zip(tops, lefts, strict=True)
    ]
    tokens = patches.flatten(2).transpose(1, 2) + torch.stack(windows)
    prefix = (net.cls_token + net.pos_embed[:, :special]).expand(n, -1, -1)
    tokens = net.norm(net.blocks(net.norm_pre(torch.cat([prefix, tokens], dim=1))))
    return tokens[:, special:]  # type: ignore[no-any-return]
