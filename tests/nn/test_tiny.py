"""The embedded backbone's network is timm's, without timm."""

import subprocess
import sys

import pytest
import torch

from fsad.errors import ConfigError, WeightsError
from fsad.nn.backbone import VitExtractor
from fsad.nn.state_dict import read_weights
from fsad.nn.timm_networks import convert_vit, create_vit, pixel_statistics, pixels_per_token
from fsad.nn.tiny import (
    ARCHITECTURE,
    PIXELS_PER_TOKEN,
    STATISTICS,
    STEM,
    TIMM_NAME,
    TinyVit,
    is_tiny,
)
from fsad.nn.vit_network import timms_vit
from fsad.nn.weights import SHIPPED

WEIGHTS = SHIPPED / "tiny.safetensors"
SIZES = [8, 64, 112, 224, 256]


def backbone(image_size, **changes):
    settings = {
        "timm_name": TIMM_NAME,
        "stem": STEM,
        "model_args": ARCHITECTURE,
        "shipped": "tiny.safetensors",
        **changes,
    }
    return VitExtractor("tiny", image_size=image_size, layers=[3, 10], **settings)


def theirs(image_size):
    """Timm's network with the shipped weights."""
    network = timms_vit(TIMM_NAME, 0, STEM, image_size, ARCHITECTURE)
    network.net.load_state_dict(network.fit(read_weights(WEIGHTS), WEIGHTS), strict=False)
    return network.net.eval()


@pytest.mark.parametrize("image_size", SIZES)
def test_its_weights_have_the_names_and_shapes_of_timms(image_size):
    net = create_vit(TIMM_NAME, 0, STEM, img_size=image_size, **ARCHITECTURE)
    ours = {key: value.shape for key, value in TinyVit(image_size).state_dict().items()}
    assert ours == {key: value.shape for key, value in net.state_dict().items()}


@pytest.mark.parametrize("image_size", SIZES)
def test_shipped_weights_are_fitted_to_another_size_as_timm_fits_them(image_size):
    ours = TinyVit(image_size).fit(read_weights(WEIGHTS), WEIGHTS)
    net = create_vit(TIMM_NAME, 0, STEM, img_size=image_size, **ARCHITECTURE)
    expected = convert_vit(net, read_weights(WEIGHTS), WEIGHTS)
    assert ours.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in ours.items())
    assert all(value.dtype == expected[key].dtype for key, value in ours.items())


@torch.no_grad()
@pytest.mark.parametrize(
    ("count", "image_size"), [(1, 64), (3, 64), (17, 64), (1, 112), (5, 112), (1, 224), (2, 224)]
)
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_of_the_same_weights_it_computes_the_same_numbers(count, image_size, precision):
    ours, net = backbone(image_size), theirs(image_size)
    images = torch.rand(count, 3, image_size, image_size)
    with ours.in_precision(precision):
        features = ours(images)
    with torch.autocast("cpu", precision, enabled=precision is not None):
        tokens = net.forward_features((images - 0.5) / 0.5)[:, 1:]
    grid = image_size // PIXELS_PER_TOKEN
    expected = tokens.transpose(1, 2).reshape(count, -1, grid, grid).float()
    assert torch.equal(features, expected)


def test_changed_layers_pass_by_the_class_token_as_in_timms():
    def after(_, features):
        return features * 1.25

    ours, image = backbone(64), torch.rand(1, 3, 64, 64)
    file = backbone(64, weights_path=str(WEIGHTS))  # of a file: timm's
    assert type(ours.net) is TinyVit
    assert type(file.net) is not TinyVit
    assert ours.sha256 == file.sha256
    assert ours.identity() == file.identity()
    assert torch.equal(ours(image, "target", after), file(image, "target", after))


def test_what_is_known_of_it_is_what_timm_says():
    net = create_vit(TIMM_NAME, 0, STEM, img_size=64, **ARCHITECTURE)
    assert pixel_statistics(net) == STATISTICS
    assert pixels_per_token(net) == PIXELS_PER_TOKEN
    ours = TinyVit(64)
    assert ours.patch_embed.grid_size == net.patch_embed.grid_size
    assert (ours.num_prefix_tokens, ours.embed_dim) == (net.num_prefix_tokens, net.embed_dim)
    assert len(ours.blocks) == len(net.blocks)


def test_any_other_setting_is_timms():
    assert is_tiny(TIMM_NAME, STEM, ARCHITECTURE)
    assert not is_tiny("vit_small_patch16_224", STEM, ARCHITECTURE)
    assert not is_tiny(TIMM_NAME, None, ARCHITECTURE)
    assert not is_tiny(TIMM_NAME, {**STEM, "stage": "layer1"}, ARCHITECTURE)
    assert not is_tiny(TIMM_NAME, STEM, {**ARCHITECTURE, "depth": 6})
    assert not is_tiny(TIMM_NAME, STEM, {**ARCHITECTURE, "qk_norm": True})
    assert type(backbone(64, pretrained=False).net) is not TinyVit


def test_building_it_leaves_the_global_generator_be():
    before = torch.get_rng_state()
    TinyVit(64)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_image_size_that_would_be_cropped_is_refused():
    with pytest.raises(
        ConfigError,
        match=r"^data\.image_size: expected a multiple of 8 for this backbone, got 100$",
    ):
        backbone(100)


@pytest.mark.parametrize("shape", [None, (1, 13, 128), (785, 128)])
def test_positions_of_no_square_are_refused(shape, tmp_path):
    state = {} if shape is None else {"pos_embed": torch.zeros(shape)}
    with pytest.raises(
        WeightsError, match=r"own\.st': expected pos_embed of a square of patches, got something"
    ):
        TinyVit(64).fit(state, tmp_path / "own.st")


def test_building_it_imports_neither_timm_nor_torchvision():
    code = (
        "import sys; from fsad.nn.backbone import VitExtractor; "
        "from fsad.nn.tiny import ARCHITECTURE, STEM, TIMM_NAME; "
        "VitExtractor('tiny', TIMM_NAME, 64, [3], shipped='tiny.safetensors', stem=STEM, "
        "model_args=ARCHITECTURE); "
        "print(*({'timm', 'torchvision', 'torch._dynamo'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
