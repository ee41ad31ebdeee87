"""A run of an earlier version, without a protocol and with classes named otherwise, goes on."""

import json
import shutil

import numpy as np
import pytest
from omegaconf import OmegaConf
from outcome import numbers

import fsad
from fsad.engine.stored import RENAMED, stored_config
from fsad.errors import ConfigError


@pytest.fixture
def earlier(finished, tmp_path):
    """A finished run as an earlier version left it."""
    copy = shutil.copytree(finished, tmp_path / "earlier")
    config = OmegaConf.load(copy / "config.yaml")
    now = {target: before for before, target in RENAMED.items()}
    config.data._target_ = now[config.data._target_]
    del config["protocol"]
    OmegaConf.save(config, copy / "config.yaml")
    path = copy / "result.json"
    result = json.loads(path.read_text())
    result["config"]["data"]["_target_"] = config.data._target_
    del result["config"]["protocol"]
    path.write_text(json.dumps(result))
    return copy


def test_its_settings_are_read_as_those_of_today(earlier, finished):
    before, now = (stored_config(str(folder), "resume") for folder in (earlier, finished))
    # Today's protocol refers to what data says of modalities.
    protocols = [OmegaConf.to_container(it.protocol, resolve=True) for it in (before, now)]
    assert protocols[0] == protocols[1]
    for config in (before, now):
        del config.protocol
    assert OmegaConf.to_container(before) == OmegaConf.to_container(now)


def test_it_resumes_to_the_same_numbers(earlier, finished, run):
    for name in ("category.json", "patch_scores.safetensors", "scores.csv", "threshold.json"):
        (earlier / "categories/tile" / name).unlink()
    run(earlier, f"resume={earlier}")
    assert numbers(earlier) == numbers(finished)


def test_it_is_tested_again_to_the_same_numbers(earlier, run, tmp_path):
    again = run(tmp_path / "again", f"ckpt={earlier}")
    means = [json.loads((it / "result.json").read_text())["mean"] for it in (again, earlier)]
    assert means[0] == means[1]
    assert stored_config(str(again), "run").protocol.modality == "depth"


def test_its_protocol_cannot_be_changed_when_it_is_tested_again(earlier, run, tmp_path):
    with pytest.raises(ConfigError, match=r"ckpt: expected one of .*, got protocol=few_shot"):
        run(tmp_path / "again", f"ckpt={earlier}", "protocol=few_shot")


def test_it_predicts_the_same(earlier, finished):
    z = np.linspace(0.3, 0.5, 64 * 64, dtype=np.float32).reshape(64, 64)
    scores = [fsad.load(folder).predict(z).score for folder in (earlier, finished)]
    assert scores[0] == scores[1]
