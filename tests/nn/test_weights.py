import logging
import time

import pytest
import torch
from safetensors.torch import save_file
from small_backbones import cnn, images, saved, vit

from fsad.errors import WeightsError

REPO = "timm/resnet18.tv_in1k"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Give an empty cache, and a hub that refuses every connection."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.hf_hub_url", lambda *_: "http://127.0.0.1:9/weights")
    return tmp_path


def test_random_weights_depend_on_the_seed_alone_and_leave_the_global_generator_be():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = vit()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert vit().sha256 == first.sha256
    assert torch.equal(vit()(images()), first(images()))
    assert vit(seed=1).sha256 != first.sha256


def test_random_weights_are_said_aloud(caplog):
    with caplog.at_level(logging.WARNING, logger="fsad"):
        assert vit(name="tiny").weights == "random weights"
    assert "backbone 'tiny': RANDOM WEIGHTS" in caplog.text


@pytest.mark.usefixtures("hub")
def test_without_a_connection_the_message_says_what_to_fetch_within_seconds():
    start = time.perf_counter()
    with pytest.raises(WeightsError) as caught:
        vit(
            name="dino_vitb8",
            timm_name="vit_base_patch8_224.dino",
            model_args=None,
            pretrained=True,
        )
    assert time.perf_counter() - start < 20
    message = str(caught.value)
    assert message.startswith(
        "backbone 'dino_vitb8': expected pretrained weights from the model hub, got none ("
    )
    assert message.endswith(
        "Fetch them once where there is a network: hf download timm/vit_base_patch8_224.dino "
        "model.safetensors --local-dir DIR, and pass backbone.weights_path=DIR/model.safetensors; "
        "or ask for random weights with backbone.pretrained=false."
    )
    assert "refused" in message
    assert "\n" not in message


def test_weights_in_the_hubs_cache_need_no_connection(hub):
    folder = hub / f"models--{REPO.replace('/', '--')}"
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    theirs = cnn(seed=5)
    save_file(theirs.net.state_dict(), snapshot / "model.safetensors")
    extractor = cnn(pretrained=True)
    assert extractor.weights == "pretrained"
    assert extractor.sha256 == theirs.sha256


def test_an_architecture_of_our_own_has_no_published_weights():
    with pytest.raises(
        WeightsError,
        match=r"backbone 'tiny': expected pretrained weights on the model hub, got none: nobody .*"
        r"backbone.weights_path=FILE; or ask for random weights with backbone.pretrained=false\.",
    ):
        vit(name="tiny", pretrained=True)


@pytest.mark.usefixtures("hub")
def test_a_file_goes_before_the_hub_and_before_random_weights(tmp_path):
    theirs = vit(seed=3)
    path = saved(theirs.net.state_dict(), tmp_path / "vit.pth")
    for pretrained in (True, False):
        extractor = vit(pretrained=pretrained, weights_path=path)
        assert (extractor.weights, extractor.sha256) == ("file", theirs.sha256)
