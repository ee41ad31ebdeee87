"""A run of an earlier version, whose settings name some that are no more."""

import shutil

import pytest
import torch
import yaml
from outcome import numbers

from fsad.engine.trained import load_trained
from fsad.errors import DataError

OLD = {
    "method=hypertrans_plus": {
        "plus": {"calibrate": False},
        "perturb": {"factors": "channel"},
        "banks": {"coreset_slack": 0.0},
    },
    "method=patchcore": {"coreset_slack": 0.0},
    "method=source_bank": {"coreset_slack": 0},
}


def named(folder, settings):
    """Let a run's settings of its method be as an earlier version wrote them."""
    file = folder / "config.yaml"
    config = yaml.safe_load(file.read_text())
    for name, value in settings.items():
        if isinstance(value, dict):
            config["method"][name] |= value
        else:
            config["method"][name] = value
    file.write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module", params=OLD)
def runs(request, run, tmp_path_factory):
    """A finished run, and a copy of it as an earlier version would have left it."""
    folder = tmp_path_factory.mktemp("retired")
    without = None if "hypertrans" in request.param else "method."
    new = run(folder / "new", request.param, "maps=false", without=without)
    old = shutil.copytree(new, folder / "old")
    named(old, OLD[request.param])
    return old, new


def test_it_goes_on_with_the_same_numbers(runs, run, tmp_path):
    old, new = runs
    broken = shutil.copytree(old, tmp_path / "run")
    for file in ("category.json", "patch_scores.safetensors", "banks.safetensors"):
        (broken / "categories/tile" / file).unlink()
    (broken / "result.json").unlink()
    run(broken, f"resume={broken}")
    assert numbers(broken) == numbers(new)
    assert (broken / "scores.csv").read_bytes() == (new / "scores.csv").read_bytes()


def test_it_is_tested_again_with_the_same_numbers(runs, run, tmp_path):
    old, new = runs
    again = run(tmp_path / "again", f"ckpt={old}", "maps=false")
    assert (again / "scores.csv").read_bytes() == (new / "scores.csv").read_bytes()


def test_it_predicts_the_same(runs):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ours, theirs = (load_trained(each).score(images) for each in runs)
    assert ours.keys() == theirs.keys()
    for domain, scores in ours.items():
        assert torch.equal(scores.patches, theirs[domain].patches)


def test_with_another_value_it_does_not_predict(runs, tmp_path):
    copy = shutil.copytree(runs[1], tmp_path / "run")
    named(copy, {"coreset_slack": 0.1})
    said = r"run/config\.yaml: expected method\.coreset_slack=0\.0, got 0\.1: this version"
    with pytest.raises(DataError, match=said):
        load_trained(copy)
