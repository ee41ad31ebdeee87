"""Pages that are written from the source when the site is built, so that they stay true.

``configuration.md`` lists what is under ``conf/``; ``troubleshooting.md`` lists the messages that
``src/fsad`` raises; ``departures.md`` is README's section of that name.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINE = re.compile(
    r"^(?P<indent> *)(?P<key>[A-Za-z_][\w/]*): *(?P<value>[^#]*?)(?: *# *(?P<about>.*))?$"
)
HEADER = "# @package _global_"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages; mkdocs calls this."""
    from mkdocs.structure.files import File

    pages = {
        "configuration.md": configuration(),
        "troubleshooting.md": troubleshooting(),
        "departures.md": departures(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def configuration() -> str:
    """Return a table for each file under ``conf/``: key, value, what the file says of it."""
    parts = [
        "# Configuration\n\nEvery setting, from the files under `conf/`. Change one on the command "
        "line by its group and name: `method.alpha=0.5`; choose another file of a group by "
        "`group=name`.\n"
    ]
    files = sorted((ROOT / "conf").rglob("*.yaml"), key=lambda file: (len(file.parts), file))
    for file in files:
        name = file.relative_to(ROOT / "conf").with_suffix("").as_posix()
        parts.append(f"\n## `{name.replace('/', '=')}`\n")
        lines = file.read_text(encoding="utf-8").splitlines()
        head = [line[2:] for line in lines if line.startswith("# ") and line != HEADER]
        if head:
            parts.append("\n".join(head) + "\n")
        rows = list(_rows(lines))
        if rows:
            parts.append("| key | default | |\n| --- | --- | --- |")
            parts += [
                f"| `{key}` | {_code(value)} | {about} |"
                for key, value, about in rows
                if value or about  # not a mere heading of others
            ]
    return "\n".join(parts) + "\n"


def _rows(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield dotted keys with their values and comments."""
    above: list[tuple[int, str]] = []
    for line in lines:
        found = LINE.match(line)
        if not found:
            continue
        indent = len(found["indent"])
        above = [(at, key) for at, key in above if at < indent]
        above.append((indent, found["key"]))
        yield ".".join(key for _, key in above), found["value"], found["about"] or ""


def _code(value: str) -> str:
    return f"`{value.replace('|', chr(92) + '|')}`" if value else ""


def troubleshooting() -> str:
    """Return every message of an ``FsadError`` with its remedy, by module."""
    parts = [
        "# Troubleshooting\n\nEvery message reads `name: expected what, got what`, and where it is "
        "known the remedy follows. Words in braces stand for what the program fills in. A message "
        "without a traceback is something to mend on this side; `fsad --debug` shows where it came "
        "from.\n"
    ]
    for file in sorted((ROOT / "src/fsad").rglob("*.py")):
        rows = [_split(message) for message in messages(file)]
        if rows:
            parts.append(f"\n## {file.relative_to(ROOT / 'src/fsad').as_posix()}\n")
            parts.append("| message | remedy |\n| --- | --- |")
            parts += [f"| {_cell(said)} | {_cell(remedy)} |" for said, remedy in rows]
    return "\n".join(parts) + "\n"


def messages(file: Path) -> list[str]:
    """Return the texts of the errors that a module raises, with names in braces filled in later."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            raised = node.exc.func
            name = raised.id if isinstance(raised, ast.Name) else ""
            text = _text(node.exc.args[0])
            if name.endswith("Error") and "expected" in text:
                found.append(text)
    return found


def _text(node: ast.expr) -> str:
    """Write a string expression as a template."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return f"{{{ast.unparse(node)}}}"


def _split(message: str) -> tuple[str, str]:
    """Split a message from the sentence that tells what to do."""
    said, _, remedy = message.partition(". ")
    return said, remedy


def _cell(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
    return f"`` {escaped} ``" if text else ""


def departures() -> str:
    """Return README's section on departures from the paper."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## (Departures from the paper\n.*?)(?=^## )", readme, re.S | re.M)
    assert found is not None
    return f"# {found[1]}"
