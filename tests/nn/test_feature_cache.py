"""Features on disk: the same bits as without, computed once."""

from threading import Barrier, Thread

import pytest
import torch
from small_backbones import cnn, images, vit

from fsad.nn.adapter import AdaptedExtractor
from fsad.storage.tensor_store import TensorStore


def stored(tmp_path, backbone=vit, **changes):
    """A backbone whose features are kept in a store."""
    extractor = backbone(**changes)
    extractor.store = TensorStore(tmp_path / "store")
    return extractor


def count(extractor):
    """Count what the network computes from now on: images into each half."""
    seen = {"prefix": 0, "suffix": 0}
    prefix, suffix = extractor._prefix, extractor._suffix

    def counting_prefix(batch):
        seen["prefix"] += len(batch)
        return prefix(batch)

    def counting_suffix(state, after):
        seen["suffix"] += len(state[0])
        return suffix(state, after)

    extractor._prefix, extractor._suffix = counting_prefix, counting_suffix
    return seen


def trained(extractor, seed=0):
    """Adapters that change something."""
    adapted = AdaptedExtractor(extractor, hidden=4)
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapted.adapters.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) / 10)
    return adapted


@pytest.mark.parametrize("backbone", [vit, cnn])
@torch.no_grad()
def test_on_a_cpu_an_images_features_do_not_depend_on_its_batch(backbone):
    extractor = backbone()
    together = extractor(images(5))
    for size in (1, 2, 3):
        parts = torch.cat([extractor(part) for part in images(5).split(size)])
        assert torch.equal(parts, together)


@pytest.mark.parametrize("backbone", [vit, cnn])
@pytest.mark.parametrize("enabled", [True, False])
@torch.no_grad()
def test_with_and_without_a_store_features_are_the_same_bits(tmp_path, backbone, enabled):
    plain, kept = trained(backbone()), trained(stored(tmp_path, backbone))
    plain.enabled = kept.enabled = enabled
    for batch in (images(3), images(5), images(5)):  # none, some and all of it is there
        assert torch.equal(kept(batch, "target"), plain(batch, "target"))


@torch.no_grad()
def test_an_image_is_computed_once_whatever_batch_it_comes_in(tmp_path):
    extractor = stored(tmp_path)
    adapted = AdaptedExtractor(extractor, hidden=4)
    adapted.enabled = False
    seen = count(extractor)
    adapted(images(3))
    adapted(images(5))
    adapted(images(5).flip(0))
    assert seen == {"prefix": 5, "suffix": 5}


@torch.no_grad()
def test_layers_before_the_first_adapter_run_once_whatever_the_adapters(tmp_path):
    extractor = stored(tmp_path)
    seen = count(extractor)
    for seed in (0, 1, 2):
        trained(extractor, seed)(images(4))
    assert seen == {"prefix": 4, "suffix": 12}
    trained(extractor, seed=1)(images(4))
    assert seen == {"prefix": 4, "suffix": 12}


def test_clean_features_and_the_prefix_are_shared_between_training_steps(tmp_path):
    extractor = stored(tmp_path)
    plain, adapted = trained(vit()), trained(extractor)

    def perturb(_, features):
        return 2 * features

    seen = count(extractor)
    for _ in range(3):
        clean, perturbed = adapted.clean_and_perturbed(images(2), "source", perturb)
        expected = plain.clean_and_perturbed(images(2), "source", perturb)
        assert torch.equal(clean, expected[0])
        assert torch.equal(perturbed, expected[1])
    assert seen == {"prefix": 2, "suffix": 2 + 3 * 2}
    assert perturbed.requires_grad
    assert not clean.requires_grad


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"model_args": {"patch_size": 8, "embed_dim": 48, "depth": 4, "num_heads": 4}},
        {"layers": [2, 3]},
        {"compile": True},
    ],
    ids=["weights", "heads", "layers", "compile"],
)
def test_another_backbone_has_other_keys(tmp_path, change):
    from fsad.nn.feature_cache import FeatureCache

    ours, theirs = (stored(tmp_path, **words) for words in ({}, change))
    keys = [FeatureCache(each).keys(images(1), "source") for each in (ours, theirs)]
    assert keys[0] != keys[1]


def test_precision_normalisation_and_content_are_in_the_key_and_nothing_else(tmp_path):
    from fsad.nn.feature_cache import FeatureCache

    extractor = stored(tmp_path, normalize_depth=False)
    cache = FeatureCache(extractor)
    (source,) = cache.keys(images(1), "source")
    assert cache.keys(images(1), "target") != [source]
    assert cache.keys(images(2), "source")[0] == source
    assert cache.keys(images(1) + 1e-6, "source") != [source]
    with extractor.in_precision(torch.bfloat16):
        assert cache.keys(images(1), "source") != [source]
    extractor.normalize_depth = True
    assert cache.keys(images(1), "target") == cache.keys(images(1), "source")


@torch.no_grad()
def test_a_damaged_entry_is_computed_again(tmp_path, caplog):
    adapted = trained(stored(tmp_path))
    expected = adapted(images(2))
    for file in (tmp_path / "store").glob("??/*.safetensors"):
        content = bytearray(file.read_bytes())
        content[-5] ^= 1
        file.write_bytes(content)
    assert torch.equal(adapted(images(2)), expected)
    assert "deleted and computed again" in caplog.text


@torch.no_grad()
def test_extraction_goes_on_with_smaller_batches_where_memory_runs_out(monkeypatch):
    adapted = trained(vit())
    expected = adapted(images(5))
    prefix, sizes = adapted.extractor._prefix, []

    def small_memory(batch):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return prefix(batch)

    monkeypatch.setattr("fsad.nn.adapter.goes_alone", lambda _: False)  # as on a GPU
    monkeypatch.setattr(adapted.extractor, "_prefix", small_memory)
    assert torch.equal(adapted(images(5)), expected)
    assert sizes[0] == 5
    assert max(sizes[1:]) <= 2


@torch.no_grad()
def test_two_that_write_one_entry_at_once_leave_one_whole_entry(tmp_path, monkeypatch, caplog):
    from fsad.nn.feature_cache import FeatureCache
    from fsad.storage import tensors

    write, meet, found = tensors.save_file, Barrier(2, timeout=60), {}
    expected = vit()(images(1))

    def write_together(*args, **words):
        meet.wait()
        write(*args, **words)
        meet.wait()  # both files are there, and neither is in its place

    def compute(_):
        meet.wait()  # both looked and found nothing
        return (expected.clone(),)

    def look_up(extractor, how):
        cache = FeatureCache(extractor)
        keys = cache.keys(images(1), "source")
        (found[extractor],) = cache.look_up(["clean"], keys, how, torch.device("cpu"))

    monkeypatch.setattr(tensors, "save_file", write_together)
    jobs = [stored(tmp_path), stored(tmp_path)]  # a store each, on one folder
    writers = [Thread(target=look_up, args=(job, compute)) for job in jobs]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    look_up(stored(tmp_path), None)  # has nothing to compute with
    assert len(found) == 3
    assert "expected to store" not in caplog.text  # neither failed
    assert all(torch.equal(each, expected) for each in found.values())
    assert len([it for it in (tmp_path / "store").rglob("*") if it.is_file()]) == 1
