"""Balanced batches: half with a defect, each image of a kind as often as any other."""

import re
from collections import Counter

import pytest

from fsad.data.sampling import BalancedSampler, Mix, MixedSampler
from fsad.errors import ConfigError


def batches(normal, anomalous, size, seed=0, epoch=0):
    sampler = BalancedSampler([False] * normal + [True] * anomalous, size, seed)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert len(order) == len(sampler)
    return [order[start : start + size] for start in range(0, len(order), size)]


@pytest.mark.parametrize(("normal", "anomalous"), [(20, 3), (3, 20), (8, 8), (1, 1), (5, 4)])
@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("seed", range(3))
def test_every_batch_is_half_and_half_and_every_image_has_its_turn(normal, anomalous, size, seed):
    drawn = batches(normal, anomalous, size, seed)
    for batch in drawn:
        assert len(batch) == size
        assert sum(place >= normal for place in batch) == size // 2
    assert len(drawn) == -(-max(normal, anomalous) // (size // 2))
    counts = Counter(place for batch in drawn for place in batch)
    kinds = (
        [counts[place] for place in range(normal)],
        [counts[normal + place] for place in range(anomalous)],
    )
    assert all(max(kind) - min(kind) <= 1 for kind in kinds)
    assert min(max(kinds, key=len)) >= 1


def test_the_order_is_a_pure_function_of_seed_and_epoch():
    orders = [batches(20, 5, 4, seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len(set(map(str, orders))) == 9
    assert batches(20, 5, 4, 1, 2) == orders[5]


def test_an_odd_batch_is_refused():
    message = "data.batch_size: expected an even number, one half with a defect, got 3"
    with pytest.raises(ConfigError, match=message):
        BalancedSampler([True, False], 3, 0)


@pytest.mark.parametrize(("labels", "got"), [([False] * 3, "3 and 0"), ([True], "0 and 1")])
def test_one_kind_alone_is_refused(labels, got):
    message = f"sampling: expected normal and anomalous images to balance, got {got}"
    with pytest.raises(ConfigError, match=re.escape(message)):
        BalancedSampler(labels, 2, 0)


@pytest.mark.parametrize(("normals", "anomalies", "count"), [(4, 2, 5), (1, 3, 2), (7, 1, 3)])
def test_a_mixed_batch_has_so_many_of_each_kind_and_every_image_its_turn(normals, anomalies, count):
    sampler = MixedSampler([False] * 6 + [True] * 3, Mix(normals, anomalies, count), seed=1)
    order = list(sampler)
    size = normals + anomalies
    assert len(order) == len(sampler) == count * size
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        assert [place >= 6 for place in batch] == [False] * normals + [True] * anomalies
    counts = Counter(order)
    for kind in (range(6), range(6, 9)):
        assert max(counts[it] for it in kind) - min(counts[it] for it in kind) <= 1
    sampler.set_epoch(1)
    assert list(sampler) != order
    sampler.set_epoch(0)
    assert list(sampler) == order


def test_a_mix_of_one_kind_alone_is_refused():
    with pytest.raises(ConfigError, match="expected normal and anomalous images to balance, got 2"):
        MixedSampler([False] * 2, Mix(1, 1, 1), 0)
