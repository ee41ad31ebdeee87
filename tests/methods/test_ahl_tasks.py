"""AHL's tasks: clusters, anomalies and generators of support and query."""

import re

import numpy as np
import pytest

from fsad.errors import ConfigError
from fsad.functional.pseudo_anomalies import GENERATORS
from fsad.methods.ahl import Ahl
from fsad.methods.ahl.tasks import cluster_tasks

CLUSTERS_OF = np.array([0] * 5 + [1] * 4 + [2] * 3)
FIT = {"epochs": 1, "steps": 1, "normals": 2, "anomalies": 2}
OUTER = {"epochs": 1, "inner_steps": 1, "normals": 2, "pseudo": 2, "anomalies": 2}


def tasks(groups=CLUSTERS_OF, anomalies=10, seed=0):
    return cluster_tasks(groups, anomalies, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(5))
def test_each_ordered_pair_of_clusters_is_a_task_of_exactly_their_images(seed):
    pairs = set()
    for task in tasks(seed=seed):
        sides = [set(CLUSTERS_OF[side.normals].tolist()) for side in (task.support, task.query)]
        assert [len(side) for side in sides] == [1, 1]
        (one,), (other,) = sides
        assert task.support.normals.tolist() == np.flatnonzero(np.equal(CLUSTERS_OF, one)).tolist()
        assert task.query.normals.tolist() == np.flatnonzero(np.equal(CLUSTERS_OF, other)).tolist()
        pairs.add((one, other))
    assert len(pairs) == 6
    assert all(one != other for one, other in pairs)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 3, 10])
def test_support_and_query_share_no_anomaly_and_no_generator(seed, count):
    for task in tasks(anomalies=count, seed=seed):
        support, query = (set(side.anomalies.tolist()) for side in (task.support, task.query))
        assert not support & query
        assert support | query == set(range(count))
        assert min(len(support), len(query)) >= count // 2
        assert task.support.generator != task.query.generator
        assert {task.support.generator, task.query.generator} <= set(GENERATORS)


def test_one_anomaly_alone_is_in_both():
    assert all(
        task.support.anomalies.tolist() == task.query.anomalies.tolist() == [0]
        for task in tasks(anomalies=1)
    )


@pytest.mark.parametrize("groups", [[0] * 7, [0, 1, 2, 0, 1, 2, 0][:5], [0] * 6 + [1] * 2])
def test_without_two_clusters_all_normal_images_are_split_in_halves(groups):
    found = tasks(groups)
    assert len(found) == 2
    for task in found:
        support, query = (set(side.normals.tolist()) for side in (task.support, task.query))
        assert not support & query
        assert support | query == set(range(len(groups)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base": "simplenet"}, "method.base: expected one of dra, devnet, got 'simplenet'"),
        ({"importance": "all"}, "method.importance: expected one of none, uniform, lstm, got"),
        ({"outer": {**OUTER, "clusters": 1}}, "method.outer.clusters: expected a whole number of"),
        ({"outer": {**OUTER, "inner_steps": 0}}, "method.outer.inner_steps: expected a whole"),
        ({"outer": {**OUTER, "inner_lr": 0.0}}, "method.outer.inner_lr: expected a number above"),
        ({"outer": {**OUTER, "heads": "old"}}, "method.outer.heads: expected one of new, base"),
        ({"outer": {**OUTER, "second_order": 1}}, "method.outer.second_order: expected true or"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        Ahl(**{"fit": FIT, "outer": OUTER, **settings})


def test_a_variant_is_another_method_by_name():
    assert Ahl(FIT, OUTER, "devnet").name == "ahl(devnet)"
    assert Ahl(FIT, OUTER, trunk="frozen").name == "ahl(dra) (frozen trunk)"
