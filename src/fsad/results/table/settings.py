"""What makes two runs the same experiment, and which of their settings a table must show."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fsad.results.record import RunResult
from fsad.results.retired import RETIRED, SWITCHED_OFF, UNSAID, UNSAID_PROTOCOL, retired_in

Settings = Mapping[str, Any]
"""A run's settings by dotted name, without its seed, category and places."""

ALWAYS = ("dataset", "backbone", "method", "shots")
METHOD = "method."
"""Begins the names of the method's settings."""
STAGES = f"{METHOD}stages."
"""Begins the names of the switches by which a method leaves a stage out, if it has such."""
NOT_SETTINGS = {"root", "weights_path", "default_root_dir", "num_workers", "workers"}
NOT_SETTINGS |= {"devices", "strategy"}  # several processes yield the numbers of one
# Of the run; a generated dataset has its own.
SEEDS = {"seed", "data.seed", "protocol.seed", f"{METHOD}seed"}
OBSERVERS = {"paths", "cache", "logger", "callbacks", "hydra", "maps", "report", "threshold"}
OBSERVERS |= {"export", "ckpt", "resume"}
OBSERVERS |= {"source"}  # which data set is learnt from is the protocol's setting too
RANDOM = "random weights"


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
    flat = {**UNSAID, **flat}
    weights = result.backbone.get("weights")
    configured = flat.pop("backbone.name", None)
    name = result.backbone.get("name") or configured
    if name != configured:  # the method has features of its own, no backbone was built
        flat = {key: item for key, item in flat.items() if not key.startswith("backbone.")}
    flat = {
        key: item
        for key, item in flat.items()
        if key not in SWITCHED_OFF or item != SWITCHED_OFF[key]
    }
    protocol = _protocol(flat)
    stages = {key: flat.pop(key) for key in list(flat) if key.startswith(STAGES)}
    on = [key.rpartition(".")[2] for key, wanted in stages.items() if wanted]
    return {
        "dataset": str(flat.pop("data.reader._target_", "?")).rpartition(".")[2].lower(),
        "backbone": f"{name} ({RANDOM})" if weights == RANDOM else str(name),
        "method": result.method,
        "shots": protocol.pop("shots"),
        "stages": "all" if len(on) == len(stages) else " + ".join(on) or "none",
        **protocol,
        "source": _source(result),  # its folder's place is no setting, what it holds is
        **flat,
        "backbone.weights": weights,
        # Random weights follow the seed; their hash says nothing about the experiment.
        "backbone.sha256": None if weights == RANDOM else result.backbone.get("sha256"),
    }


def _source(result: RunResult) -> str | None:
    """Tell what another data set that was learnt from holds, in 8 digits; None without one."""
    digests = {entry.source_digest for entry in result.categories.values()} - {""}
    return min(digests)[:8] if digests else None


def _protocol(flat: dict[str, Any]) -> dict[str, Any]:
    """Take what a run may learn from out of its settings: once, whoever was told of it."""
    shots, selection = flat.pop("data.shots", None), flat.pop("data.shot_selection", "random")
    flat.pop("data._target_", None)  # what class hands the images out moves no number
    for name in ("data.modality", "data.source.modality", "data.target.modality"):
        flat.pop(name, None)  # the protocol's own settings refer to them
    own = {name: flat.pop(name) for name in list(flat) if name.startswith("protocol.")}
    target = own.pop("protocol._target_", None)
    if target is None:
        return {"shots": shots, **UNSAID_PROTOCOL, "data.shot_selection": selection}
    return {
        "shots": own.pop("protocol.shots", None),
        "protocol": str(target).split(".")[-2:][0],
        "data.shot_selection": own.pop("protocol.selection", None),
        **own,
    }


def identity(settings: Settings) -> str:
    """Return a key that two runs share exactly if only their seeds, categories or places differ."""
    return json.dumps(settings, sort_keys=True)


def numbers_of(settings: Settings) -> dict[str, float]:
    """Return those settings of the method that are numbers; a switch is none."""
    return {
        name: value
        for name, value in settings.items()
        if name.startswith(METHOD)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    }


def varied_numbers(groups: Iterable[Settings]) -> list[str]:
    """Name the method's settings of which the groups have more than one number, in their order."""
    numbers: dict[str, set[float]] = {}
    for settings in groups:
        for name, number in numbers_of(settings).items():
            numbers.setdefault(name, set()).add(number)
    return [name for name, different in numbers.items() if len(different) > 1]


def shown(groups: Sequence[Settings]) -> dict[str, str]:
    """Choose the settings that tell the groups apart.

    Always the data set, backbone, method and shots; the stages where one is off; the method's
    numbers where they vary among groups of one method; and whatever else two groups alike in the
    former differ in.

    Returns:
        The heading of each shown setting, by its dotted name, in the order of the columns.
    """

    def kinds(name: str, among: Sequence[Settings]) -> set[str]:
        return {json.dumps(settings.get(name)) for settings in among}

    alike: dict[tuple[str, ...], list[Settings]] = {}
    by_method: dict[str, list[Settings]] = {}
    for settings in groups:
        alike.setdefault(tuple(str(settings[name]) for name in ALWAYS), []).append(settings)
        by_method.setdefault(str(settings["method"]), []).append(settings)
    chosen = list(ALWAYS)
    if kinds("stages", groups) - {'"all"'}:
        chosen.append("stages")
    names = {name: None for settings in groups for name in settings}  # a set that keeps its order
    chosen += dict.fromkeys(name for some in by_method.values() for name in varied_numbers(some))
    for name in names:
        if name not in chosen and any(len(kinds(name, some)) > 1 for some in alike.values()):
            chosen.append(name)
    return headings(chosen)


def headings(names: Sequence[str]) -> dict[str, str]:
    """Return the last part of each dotted name, or the whole where two have the same last part."""
    short = [name.rpartition(".")[2] for name in names]
    return {
        name: last if short.count(last) == 1 else name
        for name, last in zip(names, short, strict=True)
    }
