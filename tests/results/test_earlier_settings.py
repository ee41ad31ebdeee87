"""Runs of before protocols could be chosen stand in one row with those of today."""

from types import SimpleNamespace

import pytest
from stored_protocols import CROSS_DOMAIN, FEW_SHOT

from fsad.results.table.paired import _data
from fsad.results.table.settings import identity, settings_of

EARLIER = {
    "data": {
        "_target_": "fsad.data.datamodule.PairDataModule",
        "shots": 5,
        "shot_selection": "random",
        "seed": 3,
        "reader": {"_target_": "fsad.data.mvtec3d.MVTec3D"},
    },
    "method": {"alpha": 0.3},
}


def settings(protocol=None, **data):
    config = {**EARLIER, "data": EARLIER["data"] | data}
    if protocol:
        config["protocol"] = protocol
        config["data"]["_target_"] = "fsad.data.datamodule.DataModule"
    return settings_of(
        SimpleNamespace(config=config, backbone={}, method="hypertrans", categories={})
    )


def test_a_run_of_before_is_the_same_experiment_as_one_of_today():
    assert identity(settings()) == identity(settings(CROSS_DOMAIN))
    assert settings()["shots"] == settings(CROSS_DOMAIN)["shots"] == 5


@pytest.mark.parametrize(
    "other",
    [
        {"shots": 1},
        {"selection": "first"},
        {"modality": "rgb", "source_modality": "depth"},
    ],
)
def test_another_protocol_is_another_experiment(other):
    assert identity(settings(CROSS_DOMAIN | other)) != identity(settings())


def test_the_settings_of_a_protocol_are_those_that_a_run_of_today_stores():
    assert CROSS_DOMAIN == {
        "_target_": "fsad.data.protocols.cross_domain.CrossDomain",
        "shots": 5,
        "selection": "random",
        "seed": 3,
        "source_modality": "rgb",
        "modality": "depth",
    }
    assert FEW_SHOT.keys() == CROSS_DOMAIN.keys() - {"source_modality"}


def test_another_seed_of_the_draw_is_the_same_experiment():
    assert identity(settings(CROSS_DOMAIN | {"seed": 4})) == identity(settings())


def test_a_method_without_source_images_may_be_compared_with_one_that_has_them():
    assert settings(FEW_SHOT)["protocol"] == "few_shot"
    assert identity(settings(FEW_SHOT)) != identity(settings())
    assert _data(settings(FEW_SHOT)) == _data(settings())
    assert _data(settings(FEW_SHOT | {"modality": "rgb"})) != _data(settings())


def test_where_there_are_no_shots_none_are_shown():
    open_set = {"_target_": "fsad.data.protocols.open_set.OpenSet", "n_anomalies": 10}
    found = settings(open_set)
    assert found["shots"] is None
    assert (found["protocol"], found["protocol.n_anomalies"]) == ("open_set", 10)
