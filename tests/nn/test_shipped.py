"""The embedded backbone: what is shipped, and that it is worth more than random weights."""

import json
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors import safe_open

from fsad.errors import WeightsError
from fsad.nn.state_dict import fingerprint, read_weights
from fsad.nn.weights import SHIPPED, shipped_file
from fsad.pretrain.pairs import GeneratedPairs

CONF = Path(__file__).parents[2] / "conf" / "backbone" / "tiny.yaml"


def backbone(image_size=224, **changes):
    conf = OmegaConf.load(CONF)
    return instantiate(OmegaConf.merge(conf, {"image_size": image_size, **changes}))


def test_the_weights_are_small_half_precision_and_say_their_licence():
    path = SHIPPED / "tiny.safetensors"
    assert path.stat().st_size <= 12 * 10**6
    assert {value.dtype for value in read_weights(path).values()} == {torch.float16}
    with safe_open(path, "pt") as file:
        assert "Apache-2.0" in file.metadata()["licence"]


def test_the_record_beside_them_is_theirs():
    record = json.loads((SHIPPED / "tiny.json").read_text())
    assert record["sha256"] == fingerprint(read_weights(SHIPPED / "tiny.safetensors"))
    assert len(record["curve"]) == record["recipe"]["epochs"]
    assert (SHIPPED / "tiny.md").is_file()


def test_the_default_backbone_is_twelve_blocks_of_eight_pixel_patches_with_these_weights():
    extractor = backbone()
    assert extractor.weights == "shipped"
    assert (extractor.grid, extractor.channels) == ((28, 28), 128)
    assert list(extractor.layers) == [f"block{number}" for number in range(3, 11)]


def test_without_pretrained_it_is_random_and_a_file_goes_first(tmp_path):
    assert backbone(pretrained=False).weights == "random weights"
    copy = tmp_path / "own.safetensors"
    copy.write_bytes((SHIPPED / "tiny.safetensors").read_bytes())
    assert backbone(weights_path=str(copy)).weights == "file"


def test_an_unknown_name_is_answered_with_what_there_is():
    with pytest.raises(
        WeightsError,
        match=r"backbone 'tiny': expected weights in this package under the name 'huge\.st', "
        r"got tiny\.safetensors\. Correct backbone\.shipped, or install fsad again\.",
    ):
        shipped_file("tiny", "huge.st")


def matched_over_unmatched(extractor, items):
    """Compare a patch's squared distance across domains at the same place to that at any place."""
    photo, depth = (
        extractor(items[:, view], domain).flatten(2).transpose(1, 2).flatten(0, 1)
        for view, domain in enumerate(("source", "target"))
    )
    matched = (photo - depth).square().sum(dim=1).mean()
    squares = photo.square().sum(dim=1).mean() + depth.square().sum(dim=1).mean()
    return float(matched / (squares - 2 * photo.mean(dim=0) @ depth.mean(dim=0)))


@torch.no_grad()
def test_the_same_place_lies_nearer_across_domains_than_with_random_weights():
    seen_by_no_training = 12345
    pairs = GeneratedPairs(112, 12, seen_by_no_training)
    items = torch.stack([pairs[index] for index in range(len(pairs))])
    ours = matched_over_unmatched(backbone(112), items)
    random = matched_over_unmatched(backbone(112, pretrained=False), items)
    assert ours < random
    assert ours < 0.95
