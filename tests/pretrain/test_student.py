import pytest
import torch
from torch import nn

from fsad.errors import ConfigError
from fsad.nn.timm_networks import create_cnn, create_vit
from fsad.pretrain.student import (
    AMPLITUDE,
    ARCHITECTURE,
    NEIGHBOURS,
    STEM,
    look_nearby,
    student,
    take_over_stem,
    tokens_of,
)


@pytest.fixture(scope="module")
def net():
    return student(0, 128).eval()  # 16 x 16 cells


def attention(net, number, tokens):
    """Return the weights ``(heads, tokens, tokens)`` of a block that sees ``tokens``."""
    block = net.blocks[number]
    n, c = tokens.shape[1:]
    heads = block.attn.num_heads
    query, key, _ = block.attn.qkv(tokens).view(1, n, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
    return ((query @ key.mT) * block.attn.scale).softmax(dim=-1)[0]


@pytest.mark.parametrize("number", [0, 1, 2, 7])
def test_each_head_starts_by_looking_at_one_neighbour_of_each_cell(number):
    net = create_vit("vit_tiny_patch16_224", 0, STEM, img_size=128, **ARCHITECTURE)
    for block in net.blocks:  # random weights are added to this start: look at it alone
        nn.init.zeros_(block.attn.qkv.weight)
    look_nearby(net)
    height, width = net.patch_embed.grid_size
    with torch.no_grad():
        looks = attention(net, number, net.pos_embed[:, 1:])
    inner = [(y, x) for y in range(1, height - 1) for x in range(1, width - 1)]
    for head, weights in enumerate(looks):
        down, right = NEIGHBOURS[(number * len(looks) + head) % 9]
        hits = sum(
            int(weights[y * width + x].argmax()) == (y + down) * width + x + right for y, x in inner
        )
        assert hits == len(inner)


def test_the_blocks_deal_out_all_neighbours():
    assert len(set(NEIGHBOURS)) == 9
    assert len({number % 9 for number in range(12 * 4)}) == 9


def test_full_images_give_what_timm_gives(net):
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = net.forward_features(images)[:, 1:]
        torch.testing.assert_close(tokens_of(net, images, 0), expected)


def test_small_images_take_a_window_of_the_positions_each_its_own(net):
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        several = tokens_of(net, image.expand(6, -1, -1, -1), 0, "w")
        again = tokens_of(net, image.expand(6, -1, -1, -1), 0, "w")
    assert several.shape == (6, 64, 128)
    assert torch.equal(several, again)
    assert len({float(features.sum()) for features in several}) > 1


def test_the_seed_decides_the_weights():
    first, again, other = (student(seed, 64).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["blocks.0.mlp.fc1.weight"], other["blocks.0.mlp.fc1.weight"])


def test_channels_that_do_not_fit_the_heads_are_refused():
    net = create_vit("vit_tiny_patch16_224", 0, img_size=32, embed_dim=24, depth=1, num_heads=4)
    with pytest.raises(ConfigError, match="embed_dim: expected a multiple of 16, got 24"):
        look_nearby(net)


def test_the_tokens_start_as_the_teachers_own_channels_standardised():
    net, teacher = student(0, 64), create_cnn(STEM["timm_name"], 7).eval()
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    take_over_stem(net, teacher, images)
    with torch.no_grad():
        said = teacher(images)[list(teacher.return_layers).index(STEM["stage"])]  # (n, c, h, w)
        tokens = net.patch_embed(images).transpose(1, 2).view_as(said)
    varies = said.std(dim=(0, 2, 3)) > 1e-6
    std, mean = torch.std_mean(said[:, varies], dim=(0, 2, 3), keepdim=True)
    torch.testing.assert_close(
        tokens[:, varies], AMPLITUDE * (said[:, varies] - mean) / std, rtol=1e-3, atol=1e-4
    )
    assert not any(weight.requires_grad for weight in net.patch_embed.backbone.parameters())
