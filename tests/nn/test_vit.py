import pytest
import torch
from small_backbones import SMALL, images, saved, vit

from fsad.errors import ConfigError


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("cell", [(0, 0), (2, 5), (5, 2), (7, 1)])
def test_a_changed_patch_changes_its_own_cell_most(cell, registers):
    extractor = vit(model_args=SMALL | {"reg_tokens": registers})
    row, column = cell
    pixels = torch.full((1, 3, 64, 64), 0.5)
    changed = pixels.clone()
    changed[..., 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 1.0
    difference = (extractor(changed) - extractor(pixels)).norm(dim=1)[0]  # (h, w)
    assert divmod(int(difference.argmax()), 8) == cell


def test_vit_features_and_layers_are_timms_own_intermediates():
    extractor = vit()
    pixels = images()
    seen = {}
    features = extractor(pixels, after=lambda layer, f: seen.setdefault(layer, f))
    inputs = (pixels - extractor.mean) / extractor.std
    last, theirs = [
        extractor.net.forward_intermediates(
            inputs, indices=indices, norm=norm, output_fmt="NCHW", intermediates_only=True
        )
        for indices, norm in (([3], True), ([1, 2], False))
    ]
    torch.testing.assert_close(features, last[0])
    for ours, expected in zip(seen.values(), theirs, strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("registers", [0, 4])
def test_class_and_register_tokens_pass_by_after_untouched(registers):
    extractor = vit(model_args=SMALL | {"reg_tokens": registers}, layers=[1])
    entering = []
    extractor.net.blocks[2].register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    extractor(images())
    extractor(images(), after=lambda _, f: torch.zeros_like(f))
    clean, zeroed = entering
    special = 1 + registers
    assert torch.equal(clean[:, :special], zeroed[:, :special])
    assert not zeroed[:, special:].any()
    assert clean[:, special:].abs().min() > 0


def test_weights_of_another_image_size_keep_their_position_embeddings_shape(tmp_path):
    small = vit()
    state = small.net.state_dict()
    constant = torch.arange(48.0).expand(1, 65, 48)  # the same at every cell: so at any resolution
    path = saved(state | {"pos_embed": constant}, tmp_path / "vit.pth")
    large = vit(image_size=128, weights_path=path)
    assert large.grid == (16, 16)
    torch.testing.assert_close(large.net.pos_embed, constant[:, :1].expand(1, 257, 48))
    assert torch.equal(vit(weights_path=path).net.pos_embed, constant)


HYBRID = {
    "model_args": SMALL | {"patch_size": 1},
    "stem": {"timm_name": "resnet18", "stage": "layer2"},
}


def test_a_stem_makes_tokens_of_the_cnns_cells():
    extractor = vit(**HYBRID)
    assert extractor.grid == (8, 8)
    pixels = images()
    inputs = (pixels - extractor.mean) / extractor.std
    theirs = extractor.net.forward_features(inputs)[:, 1:].transpose(1, 2).reshape(2, 48, 8, 8)
    torch.testing.assert_close(extractor(pixels), theirs)
    assert extractor.identity() != vit(**HYBRID | {"stem": None}).identity()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"stem": {"timm_name": "resnet18", "stage": "layer9"}},
            r"backbone\.stem\.stage: expected one of .*layer2.*, got 'layer9'",
        ),
        (
            {"stem": {"timm_name": "resnet181", "stage": "layer2"}},
            r"backbone\.stem\.timm_name: expected a model of timm .* got 'resnet181'",
        ),
        (
            {"image_size": "abc"},
            r"data\.image_size: expected a whole number, or height .*, got 'abc'",
        ),
        ({"image_size": 60}, r"data\.image_size: expected a multiple of 8 .*, got 60"),
    ],
)
def test_a_wrong_stem_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        vit(**HYBRID | changes)
