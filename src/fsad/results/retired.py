"""Settings that runs of earlier versions still name, and that are no more."""

from collections.abc import Iterator, Mapping
from typing import Any

OURS = "fsad.methods."
"""Where the classes lie that had them; another's method may have a setting of the same name."""
RETIRED: Mapping[str, Any] = {
    "method.plus.calibrate": False,
    "method.perturb.factors": "channel",
    "method.banks.coreset_slack": 0.0,
    "method.coreset_slack": 0.0,
}
"""The value with which each did what is done today; docs/methods.md says what the others gave."""


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
