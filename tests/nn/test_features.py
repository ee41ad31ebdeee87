"""Features of several blocks: which, and how they become one."""

import pytest
import torch
from small_backbones import cnn, images, vit
from torch.nn.functional import layer_norm
from torch.testing import assert_close

from fsad.errors import ConfigError
from fsad.nn.settings import blocks_within, stages_within


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
        (
            [0.4, 0.45],
            r"expected a window with one of 4 blocks in it, got \[0.4, 0.45\]. They end at "
            "multiples of 1/4: put the lower end first, or widen the window.",
        ),
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


RESNET = ["act1", "layer1", "layer2", "layer3", "layer4"]


def test_a_window_of_a_cnn_is_of_fractions_of_its_stages():
    assert stages_within("x", [0.6, 0.8], RESNET) == ["layer2", "layer3"]
    assert stages_within("x", [0.41, 0.8], RESNET) == ["layer2", "layer3"]
    assert stages_within("x", [0, 0.2], RESNET) == ["act1"]
    assert stages_within("x", [0.0, 1.0], RESNET) == RESNET
    assert stages_within("x", ["layer3", "layer1"], RESNET) == ["layer1", "layer3"]


@pytest.mark.parametrize("depth", range(1, 25))
def test_a_window_that_ends_at_a_block_or_stage_contains_it(depth):
    names = [str(number) for number in range(depth)]
    for number in range(depth):
        window = [float((number + 1) / depth)] * 2
        assert blocks_within("x", window, depth) == [number]
        assert stages_within("x", window, names) == [str(number)]


def test_windows_side_by_side_choose_each_block_and_each_stage_once():
    edges = [0.0, 0.3, 0.55, 1.0]
    windows = list(zip([0.0, 0.3001, 0.5501], edges[1:], strict=True))
    for depth in (4, 5, 12, 24, 40):
        names = [str(number) for number in range(depth)]
        blocks = [block for it in windows for block in blocks_within("x", it, depth)]
        stages = [stage for it in windows for stage in stages_within("x", it, names)]
        assert (blocks, stages) == (list(range(depth)), names)


def test_a_window_of_a_cnn_gives_what_the_stages_in_it_give_by_name():
    by_name, by_window = cnn(stages=["layer2", "layer3"]), cnn(stages=[0.6, 0.8])
    assert torch.equal(by_name(images()), by_window(images()))
    assert by_name.identity() == by_window.identity()  # one entry in the cache serves both
    assert cnn(stages=[0.4, 0.8]).grid == (16, 16)  # that of layer1, the first


def test_a_cnn_with_other_names_for_its_stages_takes_the_same_window():
    convnext = cnn(
        name="convnext",
        timm_name="convnext_atto.d2_in1k",
        layers=["stages_0"],
        stages=[0.5, 0.75],
    )
    assert convnext.architecture["stages"] == ["stages_1", "stages_2"]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            [0.61, 0.7],
            r"expected a window with one of 5 stages in it, got \[0.61, 0.7\]. They end at "
            "multiples of 1/5: put the lower end first, or widen the window.",
        ),
        ([0.8, 0.6], "expected a window with one of 5 stages"),
        ([0.5, 1.5], r"expected a number in \[0, 1\], got 1.5"),
        ([0.5, True], r"expected a number in \[0, 1\], got True"),
        ([1, 2], "expected different ones out of"),
        ([0.5], "expected different ones out of"),
        (None, "expected a list out of"),
    ],
)
def test_stages_that_are_not_there_are_refused(stages, message):
    with pytest.raises(ConfigError, match=rf"backbone\.stages: {message}"):
        cnn(stages=stages)


def messages(caplog, build, **changes):
    caplog.clear()
    with caplog.at_level("INFO", logger="fsad.nn.backbone"):
        build(**changes)
    return [it.getMessage() for it in caplog.records if it.name == "fsad.nn.backbone"]


def test_what_lies_behind_the_last_feature_is_named(caplog):
    assert messages(caplog, vit, features=[0, 1]) == [
        "backbone 'small': the features end at block1; neither computed nor perturbed: block2, "
        "block3"
    ]
    assert messages(caplog, cnn, stages=["layer2"]) == [
        "backbone 'resnet18': the features end at layer2; neither computed nor perturbed: layer3, "
        "layer4"
    ]


def test_nothing_is_said_of_a_network_that_runs_to_its_end(caplog):
    assert messages(caplog, vit) == []
    assert messages(caplog, vit, features=[1, 3]) == []
    assert messages(caplog, cnn, stages=["layer3", "layer4"]) == []
