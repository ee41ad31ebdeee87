"""Docstrings are written for Sphinx' roles; the site reads Markdown. This is the bridge."""

import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from griffe import Extension, Object

sys.path.insert(0, str(Path(__file__).parent))
import equations

ROLE = re.compile(r":(?P<role>[a-z]+):`(?P<text>[^`]+)`")
MATH = re.compile(
    r"^(?P<indent> *)\.\. math::(?P<first>[^\n]*)\n(?P<rest>(?:(?P=indent) +[^\n]+\n?)*)", re.M
)


class Roles(Extension):
    """Turns ``:math:`` into MathML, and ``:func:`` and its kin into links where these lead on."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite one docstring; griffe calls this for each."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value, obj)


def markdown(text: str, obj: Object | None = None) -> str:
    """Rewrite a docstring; names are looked up from where ``obj`` stands."""

    def display(found: re.Match[str]) -> str:
        tex = found["first"].strip() + "\n" + textwrap.dedent(found["rest"])
        return textwrap.indent(equations.block(tex).strip("\n") + "\n", found["indent"])

    def role(found: re.Match[str]) -> str:
        if found["role"] == "math":
            return equations.inline(found["text"])
        name = found["text"].removeprefix("~")
        label = name.rsplit(".", 1)[-1] if found["text"].startswith("~") else name
        return f'<autoref identifier="{_path(name, obj)}" optional><code>{label}</code></autoref>'

    return ROLE.sub(role, MATH.sub(display, text))


def _path(name: str, obj: Object | None) -> str:
    """Return a name's full path, or the name itself where nothing of that name is in sight."""
    scope: Any = obj
    while scope is not None and not name.startswith("fsad."):
        if name in scope.members:
            return f"{scope.path}.{name}"
        scope = scope.parent
    return name
