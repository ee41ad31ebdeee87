"""Protocols: what may be learnt from, what is tested, and that draws are seeded and nested."""

import re
from pathlib import Path

import pytest
from pair_folders import write_mvtec3d

from fsad.data.mvtec3d import MVTec3D
from fsad.data.protocols.cross_domain import CrossDomain
from fsad.data.protocols.few_shot import FewShot
from fsad.data.protocols.open_set import OpenSet
from fsad.errors import ConfigError, DataError


@pytest.fixture
def reader(tmp_path):
    """One category with 3 good, 12 cut and 9 dented test images."""
    write_mvtec3d(tmp_path / "data", test={"good": 3, "cut": 12, "dent": 9})
    return MVTec3D(tmp_path / "data")


def names(samples):
    return [sample.name for sample in samples]


def role(protocol, reader, name):
    return protocol.task(reader, "bolt").role(name)


def defects(samples):
    return {sample.defect for sample in samples}


# --- cross-domain ---


def test_cross_domain_has_all_photographs_some_depth_and_tests_depth(reader):
    task = CrossDomain(shots=2).task(reader, "bolt")
    assert set(task.roles) == {"source", "shots"}
    source, shots, test = (task.role(name) for name in ("source", "shots", "test"))
    assert (source.modality, shots.modality, test.modality) == ("rgb", "depth", "depth")
    assert source.samples == reader.samples("bolt", "train")
    assert set(names(shots.samples)) < set(names(source.samples))
    assert test.samples == reader.samples("bolt", "test")
    assert not any(role.labels or role.masks for role in (source, shots, test))


def test_one_modality_alone_is_no_cross_domain():
    message = (
        r"protocol\.source_modality: expected another than protocol\.modality, got 'rgb' for both\."
    )
    with pytest.raises(ConfigError, match=message):
        CrossDomain(shots=1, modality="rgb")


# --- few-shot ---


@pytest.mark.parametrize("selection", ["random", "first"])
@pytest.mark.parametrize("modality", ["rgb", "depth"])
def test_few_shot_has_the_shots_of_cross_domain_and_nothing_else(reader, selection, modality):
    for seed in range(4):
        task = FewShot(3, selection, seed, modality).task(reader, "bolt")
        assert set(task.roles) == {"shots"}
        assert task.role("shots").modality == task.test.modality == modality
        other = role(CrossDomain(3, selection, seed), reader, "shots")
        assert task.role("shots").samples == other.samples
        assert task.test.samples == reader.samples("bolt", "test")


@pytest.mark.parametrize("protocol", [FewShot, CrossDomain])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 0}, "data.shots: expected a whole number of at least 1, got 0"),
        ({"shots": 1, "selection": "best"}, "data.shot_selection: expected one of random, first"),
        ({"shots": 1, "seed": -1}, "data.seed: expected a whole number of at least 0, got -1"),
    ],
)
def test_a_setting_out_of_range_is_refused(protocol, options, message):
    with pytest.raises(ConfigError, match=message):
        protocol(**options)


@pytest.mark.parametrize("protocol", [FewShot(1, modality="thermal"), OpenSet(modality="thermal")])
def test_a_modality_that_the_data_set_lacks_is_refused_with_those_it_has(reader, protocol):
    message = "protocol.modality: expected one of rgb, depth, got 'thermal'"
    with pytest.raises(ConfigError, match=message):
        protocol.task(reader, "bolt")


# --- open-set ---


@pytest.mark.parametrize("seed", range(5))
def test_one_seen_anomaly_is_one_of_the_ten_and_the_test_set_is_the_same(reader, seed):
    ten, one = (OpenSet(count, seed=seed).task(reader, "bolt") for count in (10, 1))
    seen = names(ten.role("seen_anomalies").samples)
    assert len(set(seen)) == 10
    assert names(one.role("seen_anomalies").samples) == seen[:1]
    assert one.test == ten.test
    assert len(ten.test.samples) == 3 + 12 + 9 - 10
    assert not set(seen) & set(names(ten.test.samples))


def test_open_set_has_all_training_images_and_labels_of_the_seen_anomalies_alone(reader):
    task = OpenSet().task(reader, "bolt")
    normals, seen = task.role("normals"), task.role("seen_anomalies")
    assert normals.samples == reader.samples("bolt", "train")
    assert (normals.labels, seen.labels, task.test.labels) == (False, True, False)
    assert all(sample.is_anomalous for sample in seen.samples)
    assert {each.modality for each in (normals, seen, task.test)} == {"rgb"}
    assert task.test.samples == sorted(task.test.samples, key=lambda it: (it.defect, it.stem))


@pytest.mark.parametrize(
    "options", [{}, {"n_anomalies": 4, "setting": "hard", "known_defect": "cut"}]
)
def test_without_labels_all_normal_images_are_shots_and_the_test_is_the_same(reader, options):
    with_labels, without = (
        OpenSet(**options, labels=labels).task(reader, "bolt") for labels in (True, False)
    )
    assert set(without.roles) == {"shots"}
    assert without.role("shots").samples == with_labels.role("normals").samples
    assert without.test == with_labels.test


def test_the_draw_is_a_function_of_seed_and_listing(reader):
    def drawn(seed):
        return tuple(names(role(OpenSet(3, seed=seed), reader, "seen_anomalies").samples))

    assert drawn(2) == drawn(2)
    assert len({drawn(seed) for seed in range(10)}) > 5


@pytest.mark.parametrize("count", [1, 6])
def test_the_hard_setting_sees_one_class_and_tests_none_of_it(reader, count):
    for seed in range(3):
        hard = OpenSet(count, "hard", "dent", seed=seed).task(reader, "bolt")
        seen = hard.role("seen_anomalies").samples
        assert len(seen) == count
        assert defects(seen) == {"dent"}
        assert defects(hard.test.samples) == {"good", "cut"}
        assert len(hard.test.samples) == 3 + 12
        one = role(OpenSet(1, "hard", "dent", seed=seed), reader, "seen_anomalies")
        assert one.samples == seen[:1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": True}, "protocol.masks: expected none, got True. Leave it out: only labels of"),
        ({"labels": 1}, "protocol.labels: expected true or false, got 1"),
        ({"n_anomalies": 0}, "protocol.n_anomalies: expected a whole number of at least 1, got 0"),
        ({"reserve": 0}, "protocol.reserve: expected a whole number of at least 1, got 0"),
        ({"setting": "easy"}, "protocol.setting: expected one of general, hard, got 'easy'"),
        ({"setting": "hard"}, "protocol.known_defect: expected the class of defects that is seen"),
        ({"known_defect": "cut"}, "protocol.known_defect: expected none in the general setting"),
        (
            {"n_anomalies": 11},
            "protocol.n_anomalies: expected at most protocol.reserve=10, got 11. Raise protocol.",
        ),
    ],
)
def test_an_open_set_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        OpenSet(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"reserve": 21},
            "protocol.reserve: expected at least 22 anomalous images of bolt to draw from, got 21",
        ),
        (
            {"n_anomalies": 11, "reserve": 11},
            "protocol.n_anomalies: expected at most 10, half of the 21 anomalous images of bolt, "
            "got 11. Take fewer, or add images.",
        ),
        (
            {"n_anomalies": 10, "setting": "hard", "known_defect": "dent"},
            "protocol.n_anomalies: expected at least 10 anomalous images of bolt to draw from, got",
        ),
        (
            {"setting": "hard", "known_defect": "hole"},
            "protocol.known_defect: expected one of several classes of defects of bolt, which has "
            "cut, dent, got 'hole'",
        ),
    ],
)
def test_too_few_anomalies_or_another_class_are_refused(reader, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        OpenSet(**options).task(reader, "bolt")


@pytest.mark.parametrize("options", [{}, {"setting": "hard", "known_defect": "cut"}])
def test_a_category_without_any_anomaly_is_named(tmp_path, options):
    write_mvtec3d(tmp_path, test={"good": 2})
    message = (
        "protocol.n_anomalies: expected images of bolt with a defect in its test split, got none. "
        "Add some to test/, or leave bolt out of data.category."
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        OpenSet(**options).task(MVTec3D(tmp_path), "bolt")


def test_the_draw_does_not_depend_on_the_order_of_the_folder(reader, monkeypatch):
    known = OpenSet(4).task(reader, "bolt").roles["seen_anomalies"].samples
    whole = Path.glob
    monkeypatch.setattr(
        Path, "glob", lambda self, pattern: iter(sorted(whole(self, pattern), reverse=True))
    )
    again = MVTec3D(reader.root)
    assert OpenSet(4).task(again, "bolt").roles["seen_anomalies"].samples == known


def test_the_hard_setting_needs_another_class_to_test(tmp_path):
    write_mvtec3d(tmp_path, test={"good": 1, "cut": 4})
    with pytest.raises(ConfigError, match="of bolt, which has cut, got 'cut'"):
        OpenSet(1, "hard", "cut").task(MVTec3D(tmp_path), "bolt")


@pytest.mark.parametrize("protocol", [CrossDomain(1), FewShot(1), OpenSet()])
def test_a_training_image_with_a_defect_is_refused(reader, protocol):
    (reader.root / "bolt/test/cut").rename(reader.root / "bolt/train/cut")
    with pytest.raises(DataError, match="expected training images without defects, got 'cut'"):
        protocol.task(reader, "bolt")
