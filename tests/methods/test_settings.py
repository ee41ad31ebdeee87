"""Every setting of every method says what it affects, and affects that and nothing else."""

from dataclasses import replace

import pytest
from hydra.utils import instantiate
from small_backbone import small_backbone
from small_runs import settled

from fsad.engine.settings import FEATURES, MAPS, SCORES, STAGES, declared

BASE = ("backbone=tiny", "paths.output_dir=unused")
METHODS = {
    name: settled([f"method={name}", *BASE]).method
    for name in (
        "ahl",
        "anomalydino",
        "ast",
        "depth_inet",
        "devnet",
        "dra",
        "htdg",
        "hypertrans",
        "hypertrans_plus",
        "ideal",
        "padim",
        "part_mask",
        "patchcore",
        "raw",
        "sift",
        "source_bank",
        "subspace",
    )
}
STAGES_ON = ("method.stages.perturb=true", "method.stages.rectify=true")
WORDS = {"hypertrans": STAGES_ON, "hypertrans_plus": STAGES_ON, "ast": ("method.student.hidden=8",)}
WORDS["htdg"] = ("method.size=32",)
WORDS["subspace"] = ("method.source=true",)
OTHER = {  # valid values besides the default, where no rule gives one
    "timm_name": "resnet18.tv_in1k",
    "teacher.kernels": [3, 5, 3, 5],
    "bank_max_rows": 100,
    "threshold": 0.5,
    "weights_path": "weights.safetensors",
    "plus.rotations": 2,
    "rotations": 3,
    "reweight": 3,
    "seed": 7,
    "layers": [0.2, 0.5],
    "variance": 0.5,
    "trunk": "frozen",
    "base": "devnet",
    "importance": "uniform",
    "outer.heads": "base",
    "score": "normal",
    "fit.over": "all",
    "transforms": "gray",
    "size": 30,
}


def other(name, value):
    """Another valid value of a setting."""
    if name in OTHER:
        return OTHER[name]
    if name == "rectify.scale":
        return "one" if value == "median" else "median"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 2
    return value / 2 if value else 0.25


def cases():
    for name, node in METHODS.items():
        method = instantiate(node, _convert_="all")
        for setting, _, _ in declared(method):
            if (name, setting) == ("hypertrans_plus", "rectify_banks"):
                continue  # false is refused there
            yield pytest.param(name, setting, id=f"{name}-{setting}")


def build(name, change=None):
    node = settled([f"method={name}", *BASE, *WORDS.get(name, ())]).method.copy()
    method = instantiate(node, _convert_="all")
    if change is None:
        return method
    value = {setting: value for setting, value, _ in declared(method)}[change]
    arguments = {key: each for key, each in node.items() if key != "_target_"}
    return instantiate(node, **_changed(arguments, change, other(change, value)), _convert_="all")


def _changed(arguments, name, value):
    first, _, rest = name.partition(".")
    if not rest:
        return {first: value}
    return {first: {**(arguments.get(first) or {}), **_changed({}, rest, value)}}


def steps_of(method):
    """What each step depends on."""
    is_published = method.name == "depth_inet"  # its weights are not here
    extractor = (
        small_backbone()
        if is_published
        else method.build_extractor(32, lambda **_: small_backbone())
    )
    plan = method.plan(extractor)
    found = {stage.name: stage.depends for stage in plan.stages}
    return found | {SCORES: plan.scores_depend, MAPS: (plan.sigma, plan.combination)}


def test_every_method_of_the_program_is_looked_at():
    from small_runs import ROOT

    assert {path.stem for path in (ROOT / "conf/method").glob("*.yaml")} == set(METHODS)


@pytest.mark.parametrize(("name", "setting"), list(cases()))
def test_a_setting_affects_what_it_says_and_nothing_else(name, setting):
    marks = {key: mark for key, _, mark in declared(build(name))}
    assert marks[setting] is not None, f"{setting} does not say what it affects"
    steps = marks[setting].steps
    if steps == {FEATURES}:
        return
    before, after = steps_of(build(name)), steps_of(build(name, setting))
    changed = {step for step in before.keys() & after.keys() if before[step] != after[step]}
    changed |= {STAGES} if before.keys() != after.keys() else set()
    assert changed == steps


def test_a_group_of_settings_hands_its_mark_down():
    method = build("hypertrans")
    marks = {key: mark.steps for key, _, mark in declared(method)}
    assert marks["perturb.std"] == {"perturb"}
    assert marks["plus.excess"] == {SCORES}
    assert replace(method.perturb, std=0.5) != method.perturb
