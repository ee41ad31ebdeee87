import os
from pathlib import Path

import pytest
import timm
import torch
from small_backbones import cnn, images, saved
from torch.nn import functional
from torchvision.models import resnet18, resnet50


@pytest.mark.parametrize("theirs", [resnet18, resnet50])
def test_torchvisions_whole_file_gives_torchvisions_stages(theirs, tmp_path):
    full = theirs(weights=None).eval()
    path = saved(full.state_dict(), tmp_path / "full.pth")
    name = theirs.__name__
    extractor = cnn(name=name, timm_name=f"{name}.tv_in1k", weights_path=path)
    assert extractor.weights == "file"

    pixels = images()
    stages = {}
    extractor(pixels, after=lambda layer, f: stages.setdefault(layer, f))
    with torch.no_grad():
        x = (pixels - extractor.mean) / extractor.std
        layer1 = full.layer1(full.maxpool(full.relu(full.bn1(full.conv1(x)))))
        layer2 = full.layer2(layer1)
        layer3 = full.layer3(layer2)
    torch.testing.assert_close(stages["layer1"], layer1)
    torch.testing.assert_close(stages["layer2"], layer2)

    def mean_of_nine(maps):
        n, c, h, w = maps.shape
        return functional.unfold(maps, 3, padding=1).reshape(n, c, 9, h, w).mean(dim=2)

    features = extractor(pixels)
    channels = layer2.shape[1]
    torch.testing.assert_close(features[:, :channels], mean_of_nine(layer2))
    # halfway between four coarse cells lies their mean: bilinear at twice the resolution
    coarse = mean_of_nine(layer3)
    fine = features[:, channels:]
    torch.testing.assert_close(
        functional.avg_pool2d(fine[..., 1:-1, 1:-1], 2), functional.avg_pool2d(coarse, 2, stride=1)
    )
    torch.testing.assert_close(fine[..., 0, 0], coarse[..., 0, 0])


def test_a_stage_is_changed_for_the_feature_and_for_the_next_stage():
    extractor = cnn(layers=["layer2"], stages=["layer1", "layer2", "layer3"])
    clean = extractor(images())
    zeroed = extractor(images(), after=lambda _, f: torch.zeros_like(f))
    assert extractor.grid == (16, 16)
    assert torch.equal(zeroed[:, :64], clean[:, :64])
    assert not zeroed[:, 64:192].any()
    assert not torch.equal(zeroed[:, 192:], clean[:, 192:])


def test_stages_that_timm_lists_one_by_one_load_from_a_whole_file(tmp_path):
    arguments = {
        "name": "convnext",
        "timm_name": "convnext_atto.d2_in1k",
        "layers": ["stages_0"],
        "stages": ["stages_1", "stages_2"],
    }
    ours = cnn(**arguments)
    whole = {key.replace("_", ".", 1): value for key, value in ours.net.state_dict().items()}
    whole |= {"stages.3.blocks.0.norm.weight": torch.ones(320), "head.fc.bias": torch.ones(1000)}
    loaded = cnn(**arguments, weights_path=saved(whole, tmp_path / "whole.pth"), seed=1)
    assert loaded.sha256 == ours.sha256


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenetv3_small_100"])
def test_a_network_that_timm_makes_of_one_piece_runs_stage_by_stage_with_its_whole_file(
    name, tmp_path
):
    whole = timm.create_model(name).eval()
    path = saved(whole.state_dict(), tmp_path / "whole.pth")
    stages = ["blocks_1", "blocks_3"] if name.startswith("mobile") else ["blocks_2", "blocks_4"]
    extractor = cnn(name=name, timm_name=name, layers=stages, stages=stages, weights_path=path)
    seen = {}
    extractor(images(), after=lambda layer, f: seen.setdefault(layer, f))
    expected = {}
    for stage in stages:
        block = whole.get_submodule(stage.replace("_", "."))
        block.register_forward_hook(lambda *it, stage=stage: expected.setdefault(stage, it[2]))
    with torch.no_grad():
        whole((images() - extractor.mean) / extractor.std)
    for stage in stages:
        torch.testing.assert_close(seen[stage], expected[stage])


@pytest.mark.real
def test_the_published_resnet18_file_loads_and_tells_images_apart():
    folder = os.environ.get("FSAD_REAL_WEIGHTS")
    if not folder:
        pytest.skip("FSAD_REAL_WEIGHTS is not set")
    path = Path(folder) / "resnet18_imagenet_layer1-3.safetensors"
    extractor = cnn(image_size=224, weights_path=str(path))
    features = extractor(images(2, 224))
    assert features.shape == (2, 384, 28, 28)
    assert features.isfinite().all()
    assert extractor.weights == "file"
    assert extractor.sha256 != cnn().sha256
