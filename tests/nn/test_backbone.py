import inspect
from pathlib import Path

import pytest
import torch
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf
from small_backbones import SMALL, cnn, images, vit
from torch import nn

from fsad.engine.stage_module import StageModule
from fsad.errors import ConfigError, RunError, ShapeError
from fsad.nn.backbone import CnnExtractor
from fsad.nn.feature_cache import FeatureCache
from fsad.storage.tensor_store import TensorStore

CONF = Path(__file__).parents[2] / "conf" / "backbone"
BACKBONES = sorted(path.stem for path in CONF.glob("*.yaml"))
SWIN = {"timm_name": "swin_tiny_patch4_window7_224", "model_args": None}
both = pytest.mark.parametrize("build", [vit, cnn])


def from_conf(name, **changes):
    group = OmegaConf.load(CONF / f"{name}.yaml")
    root = OmegaConf.create({"data": {"image_size": 64}, "backbone": group})
    return OmegaConf.merge(root, {"backbone": changes}).backbone


@both
def test_channels_and_grid_describe_the_features(build):
    extractor = build()
    features = extractor(images())
    assert features.shape == (2, extractor.channels, *extractor.grid)


@both
def test_after_sees_each_perturbable_layer_once_in_order_with_its_channels(build):
    extractor = build()
    seen = {}

    def record(layer, features):
        assert layer not in seen
        seen[layer] = features.shape[1]
        return features

    extractor(images(), after=record)
    assert list(seen.items()) == list(extractor.layers.items())


@both
def test_an_after_that_returns_its_input_changes_nothing(build):
    extractor = build()
    assert torch.equal(extractor(images(), after=lambda _, f: f), extractor(images()))


@both
def test_forward_is_prefix_then_suffix_and_the_state_can_be_used_again(build):
    extractor = build()
    state = extractor.prefix(images(), "target")
    for after in (None, lambda _, f: 1.5 * f, None):
        assert torch.equal(extractor.suffix(state, after), extractor(images(), "target", after))


@both
def test_every_row_of_the_prefix_belongs_to_one_image(build):
    extractor = build()
    whole = extractor.prefix(images(3))
    alone = extractor.prefix(images(3)[2:])
    for all_rows, row in zip(whole, alone, strict=True):
        torch.testing.assert_close(all_rows[2:], row)


@both
def test_gradients_reach_what_after_puts_in_and_no_parameter(build):
    extractor = build()
    factors = {layer: torch.ones(c, 1, 1).requires_grad_() for layer, c in extractor.layers.items()}
    extractor(images(), after=lambda layer, f: factors[layer] * f).square().sum().backward()
    assert all(bool((factor.grad.abs() > 0).any()) for factor in factors.values())
    assert all(p.grad is None and not p.requires_grad for p in extractor.parameters())


@both
def test_without_after_no_gradient_is_recorded(build):
    assert not build()(images()).requires_grad


@both
def test_training_the_parent_leaves_the_extractor_in_evaluation_mode(build):
    extractor = build(model_args=SMALL | {"drop_path_rate": 0.5} if build is vit else None)
    parent = nn.Sequential(extractor).train()
    assert parent.training
    assert not any(module.training for module in extractor.modules())
    before = extractor.sha256
    first = extractor(images())
    assert torch.equal(extractor(images()), first)
    assert extractor.sha256 == before


@both
def test_the_stopwatch_only_goes_forward(build):
    extractor = build()
    assert extractor.seconds == 0
    extractor(images())
    first = extractor.seconds
    assert first > 0
    extractor.suffix(extractor.prefix(images()))
    assert extractor.seconds > first


@both
def test_normalisation_off_for_depth_means_that_pixels_enter_as_they_are(build):
    raw, on = build(normalize_depth=False), build()
    pixels = images()
    normalised = (pixels - on.mean) / on.std
    assert torch.equal(raw(normalised, "target"), on(pixels, "target"))
    assert torch.equal(raw(pixels, "source"), on(pixels, "source"))
    assert not torch.equal(raw(pixels, "target"), on(pixels, "target"))


@both
def test_normalisation_goes_by_what_the_images_show_and_not_by_their_domain(build, tmp_path):
    extractor, on = build(normalize_depth=False), build()
    pixels = images()
    normalised = (pixels - on.mean) / on.std
    extractor.modalities = {"source": "depth", "target": "rgb"}
    assert torch.equal(extractor(pixels, "target"), on(pixels, "target"))
    assert torch.equal(extractor(normalised, "source"), on(pixels, "source"))
    extractor.store = TensorStore(tmp_path, 10**6)
    cache = FeatureCache(extractor)
    assert cache.keys(pixels, "source") != cache.keys(pixels, "target")


def test_normalisation_uses_the_constants_of_imagenet_and_stays_out_of_the_state_dict():
    extractor = cnn()
    torch.testing.assert_close(extractor.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(extractor.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))
    assert all(key.startswith("net.") for key in extractor.state_dict())


@pytest.mark.parametrize("name", BACKBONES)
def test_every_option_of_the_backbone_group_fits_its_class(name):
    values = OmegaConf.to_container(from_conf(name), resolve=True)
    target = get_class(values.pop("_target_"))
    values.pop("_convert_")
    inspect.signature(target).bind(**values)
    assert values["name"] == name
    assert values["weights_path"] is None
    assert values["pretrained"] is True
    own = {"tiny", "resnet18_stem"}  # their weights come with the package
    assert values.get("shipped") == ("tiny.safetensors" if name in own else None)


@pytest.mark.parametrize(
    ("name", "size", "channels", "grid"),
    [
        ("tiny", 64, 128, (8, 8)),
        ("dino_vits8", 64, 384, (8, 8)),
        ("dinov2_vits14", 224, 384, (16, 16)),
        ("resnet18", 224, 384, (28, 28)),
        ("wide_resnet50", 64, 1536, (8, 8)),
    ],
)
def test_hydra_builds_the_grid_the_option_promises(name, size, channels, grid):
    extractor = instantiate(from_conf(name, image_size=size, pretrained=False))
    assert (extractor.name, extractor.channels, extractor.grid) == (name, channels, grid)
    assert extractor(images(1, size)).shape == (1, channels, *grid)
    assert len(extractor.layers) == (2 if isinstance(extractor, CnnExtractor) else 8)


@both
@pytest.mark.parametrize("shape", [(1, 3, 64, 32), (1, 1, 64, 64), (3, 64, 64)])
def test_images_of_another_shape_are_refused(build, shape):
    with pytest.raises(ShapeError, match=r"images: expected \(n, rgb, H, W\) with rgb=3, H=64"):
        build()(torch.zeros(shape))


@both
def test_what_after_returns_must_keep_its_shape(build):
    with pytest.raises(ShapeError, match=r"what after\('\w+', ...\) returned: expected \(n, c"):
        build()(images(), after=lambda _, f: f[..., :-1])


@both
def test_an_unknown_domain_is_refused(build):
    with pytest.raises(ConfigError, match="domain: expected 'source' or 'target', got 'rgb'"):
        build()(images(), "rgb")


@pytest.mark.parametrize(
    ("build", "changes", "message"),
    [
        (vit, {"image_size": 60}, "^data.image_size: expected a multiple of 8 for this .*, got 60"),
        (
            cnn,
            {"image_size": 72},
            "^data.image_size: expected a multiple of 16 for this .*, got 72",
        ),
        (cnn, {"image_size": 0}, "^data.image_size: expected a whole number of at least 1, got 0"),
        (
            vit,
            {"layers": [2, 4]},
            r"^backbone.layers: expected .* out of \[0, 1, 2, 3\], got \[2, 4\]",
        ),
        (vit, {"layers": [2, 2]}, r"^backbone.layers: expected different ones .*, got \[2, 2\]"),
        (cnn, {"layers": ["layer4"]}, r"^backbone.layers: expected .*'layer3'\], got \['layer4'\]"),
        (cnn, {"stages": ["layer9"]}, r"^backbone.stages: expected .*'layer4'\], got \['layer9'\]"),
        (vit, {"layers": 3}, r"^backbone.layers: expected a list out of \[0, 1, 2, 3\], got 3"),
        (cnn, {"layers": "layer1"}, r"^backbone.layers: expected a list .*, got 'layer1'"),
        (vit, {"pretrained": "no"}, "^backbone.pretrained: expected true or false, got 'no'"),
        (cnn, {"normalize_depth": 3}, "^backbone.normalize_depth: expected true or false, got 3"),
        (cnn, {"stages": []}, "^backbone.stages: expected at least one, got none"),
        (
            vit,
            {"timm_name": "nope"},
            r"^backbone.timm_name: expected a model .*, got 'nope' \(Unknown",
        ),
        (
            vit,
            {"timm_name": "resnet18"},
            "^backbone.timm_name: expected a model .*, got 'resnet18' .*img",
        ),
        (vit, SWIN, "^backbone.timm_name: expected one of timm's VisionTransformers, got 'swin"),
        (
            cnn,
            {"timm_name": "vit_tiny_patch16_224"},
            "^backbone.timm_name: expected a CNN that timm runs",
        ),
    ],
)
def test_an_unsuitable_argument_is_named_with_what_would_suit(build, changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(**changes)
    assert "\n" not in str(caught.value)


@both
def test_weights_that_train_are_refused_where_features_are_kept_or_left_out(build, tmp_path):
    extractor = build()
    extractor.store = TensorStore(tmp_path)
    before = FeatureCache(extractor).keys(images(1), "source")
    next(extractor.net.parameters()).requires_grad_(True)
    message = (
        r"expected frozen weights, got 1 that train, .* first\. A network that a method trains"
    )
    with pytest.raises(RunError, match=message):
        FeatureCache(extractor).keys(images(1), "source")
    with pytest.raises(RunError, match=message):
        StageModule(nn.Linear(1, 1), extractor).on_save_checkpoint({"state_dict": {}})
    extractor.requires_grad_(False)
    assert FeatureCache(extractor).keys(images(1), "source") == before
