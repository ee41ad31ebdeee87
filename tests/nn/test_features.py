"""Features of several blocks: which, and how they become one."""

import pytest
import torch
from small_backbones import images, vit
from torch.nn.functional import layer_norm
from torch.testing import assert_close

from fsad.errors import ConfigError
from fsad.nn.settings import blocks_within


def outputs(extractor):
    """Each block's patch tokens of some images, normalised, ``(n, c, h, w)``, by hooks."""
    seen = []
    hooks = [
        block.register_forward_hook(lambda *it: seen.append(it[2])) for block in blocks(extractor)
    ]
    extractor(images())
    for hook in hooks:
        hook.remove()
    return [
        layer_norm(it[:, 1:], it.shape[-1:]).transpose(1, 2).unflatten(2, (8, 8)) for it in seen
    ]


def blocks(extractor):
    return extractor.net.blocks


@pytest.mark.parametrize("layers", [[], [0], [1, 2], [3]])
@pytest.mark.parametrize("features", [[0], [1, 3], [0, 1, 2]])
def test_features_are_the_normalised_outputs_of_the_blocks(features, layers):
    each = outputs(vit(layers=layers))
    known = [each[number] for number in features]
    mean = vit(layers=layers, features=features)
    assert_close(mean(images()), torch.stack(known).mean(dim=0))
    joined = vit(layers=layers, features=features, merge="concat")
    assert joined.channels == 48 * len(features)
    assert_close(joined(images()), torch.cat(known, dim=1))


def test_the_state_between_prefix_and_suffix_belongs_to_the_images():
    extractor = vit(features=[0, 1, 3], layers=[2])
    whole = extractor.prefix(images(3))
    alone = extractor.prefix(images(3)[1:2])
    for of_all, of_one in zip(whole, alone, strict=True):
        assert_close(of_all[1:2], of_one)
    assert torch.equal(extractor.suffix(whole), extractor(images(3)))


def test_blocks_behind_the_last_one_that_is_read_are_neither_run_nor_perturbed():
    extractor = vit(features=[1], layers=[0, 1, 2, 3])
    assert list(extractor.layers) == ["block0", "block1"]
    runs = []
    blocks(extractor)[2].register_forward_hook(lambda *_: runs.append(0))
    extractor(images())
    assert runs == []


def test_what_an_after_puts_in_is_what_is_read():
    extractor = vit(features=[1], layers=[1])
    found = extractor(images(), after=lambda _, features: 2 * features + 1)
    assert_close(found, extractor(images()), atol=1e-3, rtol=1e-3)  # normalisation undoes it


def test_other_features_have_other_keys_in_the_cache():
    identities = [
        vit(features=features, merge=merge).identity()
        for features in (None, [1], [1, 2])
        for merge in ("mean", "concat")
    ]
    assert identities[0] == identities[1]  # of one thing there is nothing to merge
    assert len({str(it) for it in identities[2:]}) == 4


def test_a_window_is_of_fractions_of_the_depth():
    assert blocks_within("x", [0.4, 0.65], 12) == [4, 5, 6]
    assert blocks_within("x", [0.55, 0.7], 40) == [21, 22, 23, 24, 25, 26, 27]
    assert blocks_within("x", [0.5, 1], 4) == [1, 2, 3]
    assert blocks_within("x", [0, 1.0], 3) == [0, 1, 2]
    assert blocks_within("x", [3, 1], 4) == [1, 3]
    assert blocks_within("x", None, 4) == []


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([0.4, 0.45], "expected a window with one of 4 blocks in it, got"),
        ([0.9, 0.1], "expected a window with one of 4 blocks"),
        ([0.5, 1.5], "expected a number"),
        ([4], "expected different ones out of"),
        ([1, 1], "expected different ones out of"),
        ([True, False], "expected numbers of blocks or fractions, got"),
        ([], "expected at least one block, or null, got none"),
        ("all", "expected a list out of"),
    ],
)
def test_blocks_that_are_not_there_are_refused(features, message):
    with pytest.raises(ConfigError, match=rf"backbone\.features: {message}"):
        vit(features=features)


def test_an_unknown_merge_is_refused():
    with pytest.raises(ConfigError, match=r"backbone\.merge: expected one of mean, concat"):
        vit(features=[1], merge="max")
