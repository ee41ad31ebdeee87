"""The page of every message and its remedy, read from the source."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/fsad"
INTRO = """# Troubleshooting

A message names what is wrong, what was expected, what came instead, and where it is known what to
do: `name: expected X, got Y. Remedy.` It is one line without a traceback; the exit code is not 0.
`fsad --debug COMMAND` and `FSAD_DEBUG=1 python train.py ...` show where it came from. What a run
computed before it stopped is kept: `python train.py resume=RUN_DIR` goes on.

Search this page for the words of your message. Words in braces stand for what the program fills in.
"""
GENERAL = {  # what to do where a message does not say it
    "ConfigError": "Set it to what is expected; [all settings](configuration.md).",
    "ShapeError": "Give an array or tensor of that shape.",
    "DataError": "Mend or replace what it names; `fsad data check` looks at a whole dataset.",
    "MissingDataError": "Correct the path, or add what is missing; `fsad data check` lists it all.",
    "WeightsError": "Give weights of this backbone by `backbone.weights_path=FILE`.",
    "BankError": "Fill the bank first, with features that vary.",
    "NonFiniteError": "Look for broken images, other weights, or half precision.",
    "OutputError": "Give another folder, make room, or get the right to write there.",
    "PackageError": "Install the package.",
    "RunError": "Start a new run, or give the folder of another.",
    "": "Mend what it names.",
}
PARTS = {  # the package's folders, in the order of the page
    "cli": "The command line",
    "run": "Runs and settings",
    "data": "Data",
    "nn": "Backbones, weights, banks",
    "methods": "Methods",
    "engine": "Stages, banks and scores of a run",
    "scores": "Thresholds and maps",
    "metrics": "Metrics",
    "results": "Results and tables",
    "report": "The report",
    "predict": "Predicting",
    "export": "Exporting",
    "pretrain": "Pretraining",
    "functional": "Functions",
    "storage": "Files and the cache",
    "runtime": "Processes",
    "": "Everywhere",
}


@dataclass(frozen=True)
class Message:
    """What the program may say.

    Attributes:
        error: The class it is raised as; empty for a line of a list, as `fsad data check` prints.
        said: What is wrong.
        remedy: What to do, from the message itself; empty where it does not say.
    """

    error: str
    said: str
    remedy: str


def page() -> str:
    """Return the page's Markdown.

    Raises:
        KeyError: A class of errors or a part of the program has no entry above.
    """
    parts: dict[str, list[str]] = {name: [] for name in PARTS}
    files = {file.relative_to(SOURCE): file for file in sorted(SOURCE.rglob("*.py"))}
    known = {name: text for file in files.values() for name, text in _constants(file)}
    parts["run"] += _entries("train.py", messages(ROOT / "train.py", known))
    for path, file in files.items():
        name = ".".join(("fsad", *path.with_suffix("").parts)).removesuffix(".__init__")
        parts["" if len(path.parts) == 1 else path.parts[0]] += _entries(
            name, messages(file, known)
        )
    body = [f"\n## {PARTS[name]}\n\n" + "\n".join(lines) for name, lines in parts.items() if lines]
    return INTRO + "\n".join(body)


def _entries(name: str, found: Iterator[Message]) -> list[str]:
    """Return a module's part of the page, each message once, without those of no own words."""
    shown = [it for it in dict.fromkeys(found) if it.remedy or re.sub(r"{.*?}|\W", "", it.said)]
    lines = [_entry(it) for it in shown]
    return [f"### `{name}`\n", *lines, ""] if lines else []


def _constants(file: Path) -> Iterator[tuple[str, str]]:
    """Yield a module's own texts by name, which messages fill in."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            (target,) = node.targets
            if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                yield target.id, node.value.value


def _entry(message: Message) -> str:
    remedy = _escaped(message.remedy) or GENERAL[message.error]
    return f"- `` {message.said} ``\n\n    {remedy}\n"


def _escaped(text: str) -> str:
    """Let Markdown leave a remedy's stars, underscores and angle brackets as they are."""
    for sign in "\\*_<>[]`":
        text = text.replace(sign, f"\\{sign}")
    return text


def messages(file: Path, known: Mapping[str, str]) -> Iterator[Message]:
    """Yield what a module may say, in its order.

    Args:
        file: The module.
        known: Texts that the program's modules call by a name.
    """
    own = dict(known) | dict(_constants(file))
    tree = _Named(own).visit(ast.parse(file.read_text(encoding="utf-8")))
    raised: set[ast.AST] = set()
    for node in ast.walk(tree):
        name = _error(node)
        if name and isinstance(node, ast.Call):
            raised |= set(ast.walk(node))
            text = _package(node) if name == "PackageError" else _text(node.args[0])
            yield _split(name, text)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and node not in raised:
            text = _text(node)
            if "expected " in text and ", got" in text:
                yield _split("", text)


class _Named(ast.NodeTransformer):
    """Puts texts in the place of their names."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = known

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.expr:
        text = self.known.get(node.value.id) if isinstance(node.value, ast.Name) else None
        return node if text is None else ast.Constant(text)


def _error(node: ast.AST) -> str:
    """Return the class where a node makes one of the program's errors, else nothing."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
        return node.func.id if node.func.id in GENERAL else ""
    return ""


def _package(call: ast.Call) -> str:
    """Return the message that ``PackageError`` makes of a package and an extra."""
    package, extra = (_text(argument) for argument in call.args)
    return (
        f"{package}: expected the package to be installed, got none. "
        f"Install it with: pip install 'fsad[{extra}]'"
    )


def _text(node: ast.expr) -> str:
    """Write a string expression as a template."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return _placeholder(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return _placeholder(node)


def _placeholder(node: ast.expr) -> str:
    """Name what is filled in, or say that something is."""
    if isinstance(node, ast.Name):
        return f"{{{node.id}}}"
    if isinstance(node, ast.Attribute):
        return f"{{{node.attr.lstrip('_')}}}"
    if isinstance(node, ast.Call) and len(node.args) == 1:
        inner = node.args[0]
        return _placeholder(inner) if isinstance(inner, ast.Name | ast.Attribute) else "{…}"
    return "{…}"


def _split(error: str, text: str) -> Message:
    """Split a message from the sentences that tell what to do."""
    text = " ".join(text.split())
    start = max(text.find(" got "), 0)
    said, _, remedy = text[start:].partition(". ")
    return Message(error, (text[:start] + said).rstrip("."), remedy)
