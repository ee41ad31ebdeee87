"""What makes two runs the same experiment, and which of their settings a table must show."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fsad.data.depth_rules import DepthRules
from fsad.results.record import RunResult
from fsad.results.retired import RETIRED, retired_in

Settings = Mapping[str, Any]
"""A run's settings by dotted name, without its seed, category and places."""

ALWAYS = ("dataset", "backbone", "method", "shots")
IF_VARIED = ("method.alpha", "method.beta")
NOT_SETTINGS = {"root", "weights_path", "default_root_dir", "num_workers", "workers"}
NOT_SETTINGS |= {"devices", "strategy"}  # several processes yield the numbers of one
# Of the run; a generated dataset has its own.
SEEDS = {"seed", "data.seed", "protocol.seed", "method.seed"}
OBSERVERS = {"paths", "cache", "logger", "callbacks", "hydra", "maps", "report", "threshold"}
OBSERVERS |= {"export", "ckpt", "resume"}
RANDOM = "random weights"
PLUS = {"method.plus.excess": False, "method.plus.rotations": 1}
"""Switches beyond the paper; all off is as if there were none."""
EARLIER = {f"data.{name}": value for name, value in DepthRules().to_json().items()}
"""How runs read depth files that do not say so: those of before there was a choice."""
EARLIER_PROTOCOL = {
    "protocol": "cross_domain",
    "protocol.source_modality": "rgb",
    "protocol.modality": "depth",
}
"""What runs learnt from that do not say so."""


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of a nested mapping with its dotted name."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flatten(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _is_place(item: Any) -> bool:
    """Tell whether a setting only says where something lies."""
    return isinstance(item, str) and Path(item).is_absolute()


def _number(item: Any) -> Any:
    """Return a whole number as such: sigma=4 and sigma=4.0 are one setting."""
    return int(item) if isinstance(item, float) and item.is_integer() else item


def settings_of(result: RunResult) -> dict[str, Any]:
    """Return everything about a run that can move its numbers, except the seed and the category."""
    moving = {key: item for key, item in result.config.items() if key not in OBSERVERS}
    flat = {
        name: _number(item)
        for name, item in _flatten(moving)
        if name not in SEEDS and name.rpartition(".")[2] not in NOT_SETTINGS and not _is_place(item)
    }
    for key, item in retired_in(result.config):
        if item == RETIRED[key]:  # as in a run of today, which does not name it
            flat.pop(key, None)
    flat.pop("data.category", None)
    flat = EARLIER | flat
    weights = result.backbone.get("weights")
    configured = flat.pop("backbone.name", None)
    name = result.backbone.get("name") or configured
    if name != configured:  # the method has features of its own, no backbone was built
        flat = {key: item for key, item in flat.items() if not key.startswith("backbone.")}
    flat = {key: item for key, item in flat.items() if key not in PLUS or item != PLUS[key]}
    protocol = _protocol(flat)
    stages = {key: flat.pop(key) for key in list(flat) if key.startswith("method.stages.")}
    on = [key.rpartition(".")[2] for key, wanted in stages.items() if wanted]
    return {
        "dataset": str(flat.pop("data.reader._target_", "?")).rpartition(".")[2].lower(),
        "backbone": f"{name} ({RANDOM})" if weights == RANDOM else str(name),
        "method": result.method,
        "shots": protocol.pop("shots"),
        "stages": "all" if len(on) == len(stages) else " + ".join(on) or "none",
        **protocol,
        **flat,
        "backbone.weights": weights,
        # Random weights follow the seed; their hash says nothing about the experiment.
        "backbone.sha256": None if weights == RANDOM else result.backbone.get("sha256"),
    }


def _protocol(flat: dict[str, Any]) -> dict[str, Any]:
    """Take what a run may learn from out of its settings: once, whoever was told of it."""
    shots, selection = flat.pop("data.shots", None), flat.pop("data.shot_selection", "random")
    flat.pop("data._target_", None)  # what class hands the images out moves no number
    own = {name: flat.pop(name) for name in list(flat) if name.startswith("protocol.")}
    target = own.pop("protocol._target_", None)
    if target is None:
        return {"shots": shots, **EARLIER_PROTOCOL, "data.shot_selection": selection}
    return {
        "shots": own.pop("protocol.shots", None),
        "protocol": str(target).split(".")[-2:][0],
        "data.shot_selection": own.pop("protocol.selection", None),
        **own,
    }


def identity(settings: Settings) -> str:
    """Return a key that two runs share exactly if only their seeds, categories or places differ."""
    return json.dumps(settings, sort_keys=True)


def shown(groups: Sequence[Settings]) -> dict[str, str]:
    """Choose the settings that tell the groups apart.

    Always the data set, backbone, method and shots; the stages where one is off; alpha and beta
    where they vary; and whatever else two groups alike in the former differ in.

    Returns:
        The heading of each shown setting, by its dotted name, in the order of the columns.
    """

    def kinds(name: str, among: Sequence[Settings]) -> set[str]:
        return {json.dumps(settings.get(name)) for settings in among}

    alike: dict[tuple[str, ...], list[Settings]] = {}
    for settings in groups:
        alike.setdefault(tuple(str(settings[name]) for name in ALWAYS), []).append(settings)
    chosen = list(ALWAYS)
    if kinds("stages", groups) - {'"all"'}:
        chosen.append("stages")
    chosen += [name for name in IF_VARIED if len(kinds(name, groups) - {"null"}) > 1]
    names = {name: None for settings in groups for name in settings}  # a set that keeps its order
    for name in names:
        if name not in chosen and any(len(kinds(name, some)) > 1 for some in alike.values()):
            chosen.append(name)
    short = [name.rpartition(".")[2] for name in chosen]
    return {
        name: last if short.count(last) == 1 else name
        for name, last in zip(chosen, short, strict=True)
    }
