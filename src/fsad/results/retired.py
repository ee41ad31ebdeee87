"""What runs of earlier versions name that is no more, and what they leave unsaid."""

from collections.abc import Iterator, Mapping
from typing import Any

from fsad.data.depth_rules import DepthRules

OURS = "fsad.methods."
"""Where the classes lie that had them; another's method may have a setting of the same name."""
RETIRED: Mapping[str, Any] = {
    "method.plus.calibrate": False,
    "method.perturb.factors": "channel",
    "method.banks.coreset_slack": 0.0,
    "method.coreset_slack": 0.0,
}
"""The value with which each did what is done today; docs/methods.md says what the others gave."""
SWITCHED_OFF: Mapping[str, Any] = {
    "method.plus.excess": False,
    "method.plus.rotations": 1,
    "backbone.features": None,
    "backbone.merge": "mean",
    "backbone.position_resize": "timm",
}
"""The value with which a switch does nothing: a run that names it so is one that does not."""
UNSAID: Mapping[str, Any] = {f"data.{name}": rule for name, rule in DepthRules().to_json().items()}
"""How runs read depth files that do not say so: those of before there was a choice."""
UNSAID_PROTOCOL: Mapping[str, Any] = {
    "protocol": "cross_domain",
    "protocol.source_modality": "rgb",
    "protocol.modality": "depth",
}
"""What runs learnt from that do not say so."""


def retired_in(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the retired settings that a run's configuration names, and their values.

    Args:
        config: The configuration as nested mappings.
    """
    method = config.get("method")
    if not isinstance(method, Mapping) or not str(method.get("_target_")).startswith(OURS):
        return
    for key in RETIRED:
        node: Any = config
        for name in key.split("."):
            node = node.get(name, _ABSENT) if isinstance(node, Mapping) else _ABSENT
        if node is not _ABSENT:
            yield key, node


_ABSENT = object()
