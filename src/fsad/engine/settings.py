"""What each setting of a method affects, declared beside it."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, get_type_hints

MAPS = "maps"
"""What comes after the patch scores: blur, and how parts become one."""
SCORES = "scores"
FEATURES = "features"
"""The method's own features, which their identity tells."""
STAGES = "stages"
"""Which stages there are."""


class Affects:
    """Marks a setting: ``ratio: Annotated[float, Affects("banks")]``.

    Runs that agree in all settings that affect a step, and in the steps before, share its result.

    Args:
        steps: Names of the method's stages, ``banks``, :data:`SCORES`, :data:`MAPS`,
            :data:`FEATURES` or :data:`STAGES`. None: the setting affects nothing.
    """

    def __init__(self, *steps: str) -> None:
        self.steps = frozenset(steps)


def declared(settings: object) -> Iterator[tuple[str, Any, Affects | None]]:
    """List the settings of a method, or of a group of them.

    Args:
        settings: An object whose constructor takes settings that it keeps under the same names. A
            setting that is a dataclass is a group: what its own settings do not say, the group's
            mark says for them.

    Yields:
        Dotted name, value, and what it affects; None where that is not declared.
    """
    kind = type(settings)
    hints = get_type_hints(kind if is_dataclass(kind) else kind.__init__, include_extras=True)
    for name in inspect.signature(kind).parameters:
        hint = hints.get(name)
        marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Affects)]
        mark, value = (marks[0] if marks else None), getattr(settings, name, None)
        if is_dataclass(value):
            for inner, each, own in declared(value):
                yield f"{name}.{inner}", each, own or mark
        else:
            yield name, value, mark


def affecting(settings: object, step: str) -> Mapping[str, Any]:
    """Return the settings that affect a step, by dotted name."""
    return {
        name: list(value) if isinstance(value, list | tuple) else value
        for name, value, mark in declared(settings)
        if mark is not None and step in mark.steps
    }
