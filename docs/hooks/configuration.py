"""The page that lists every setting, read from the files under ``conf/``."""

import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

CONF = Path(__file__).parents[2] / "conf"
ABOUT = {  # the groups in the order of the page
    "": "The run itself",
    "data": "Which images",
    "data/under": "What a protocol sees of pairs",
    "data/generated_under": "What a protocol sees of generated pairs",
    "source": "Another data set to learn from",
    "protocol": "What may be learnt from, and what is tested",
    "backbone": "The frozen network that makes features",
    "method": "What is trained, and what scores",
    "trainer": "Processor, processes, precision",
    "cache": "What is kept for other runs",
    "paths": "Where things go",
    "callbacks": "Observers",
    "logger": "Where losses go",
    "experiment": "Named runs",
    "sweep": "Axes of a multirun",
    "debug": "For looking closer",
    "hydra/launcher": "Who runs the jobs of a multirun",
}
INTRO = """# Configuration

Every setting there is, from the files under `conf/`. On the command line:

- change a value by its key: `python train.py method.alpha=0.5 data.shots=1`;
- choose another file of a group: `python train.py method=patchcore trainer=gpu`;
- see what a run would use, without running it: `python train.py --cfg job`.

`null` means none. A value like `${seed}` is taken from that key. This machine's own settings may
stand in `conf/local/default.yaml`, which is not under version control. A run keeps its settings in
its `config.yaml`.
"""


@dataclass(frozen=True)
class Row:
    """One setting.

    Attributes:
        key: As it is written on the command line.
        value: As it is written in the file; empty for a mere heading of others.
        about: The comment beside it.
    """

    key: str
    value: str
    about: str


def page() -> str:
    """Return the page's Markdown.

    Raises:
        ValueError: A folder under ``conf/`` has no place on the page.
    """
    folders: dict[str, list[Path]] = {}
    for file in sorted(CONF.rglob("*.yaml")):
        folder = file.parent.relative_to(CONF).as_posix()
        if folder != "local":  # this machine's own
            folders.setdefault("" if folder == "." else folder, []).append(file)
    if unknown := set(folders) - set(ABOUT):
        raise ValueError(f"conf: expected only {', '.join(ABOUT)}, got {', '.join(unknown)}")
    parts = [INTRO]
    for folder in ABOUT:
        parts.append(f"## {ABOUT[folder]}{f': `{folder}=`' if folder else ''}\n")
        parts += [_file(file, folder) for file in folders[folder]]
    return "\n".join(parts)


def _file(file: Path, folder: str) -> str:
    """Return what one file says."""
    lines = file.read_text(encoding="utf-8").splitlines()
    head = [line[1:] for line in itertools.takewhile(lambda line: line.startswith("#"), lines)]
    whole = " @package _global_" in head
    said = [line[1:] for line in head if line != " @package _global_"]
    prefix = "" if whole or not folder else folder.replace("/", ".")
    title = f"### `{folder}={file.stem}`\n\n" if folder else ""
    if file.stem.startswith("_"):
        title = f"### `{folder}`, whichever it is\n\n"
    table = "\n".join(
        f"| `{row.key}` | {_code(row.value)} | {_cell(row.about)} |" for row in rows(file, prefix)
    )
    if table:
        table = f"| key | default | |\n| --- | --- | --- |\n{table}\n"
    return f"{title}{_about(said)}\n\n{table}"


def _about(lines: list[str]) -> str:
    """Return the comment at a file's head; an indented line of it is code."""
    parts = []
    for is_code, some in itertools.groupby(lines, lambda line: line.startswith("  ")):
        if is_code:
            parts.append("```bash\n" + textwrap.dedent("\n".join(some)) + "\n```")
        else:
            parts.append(_cell(" ".join(some)))
    return "\n\n".join(parts)


def rows(file: Path, prefix: str = "") -> list[Row]:
    """Return the settings of a file, in its order, with dotted keys."""
    text = file.read_text(encoding="utf-8")
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(top, yaml.MappingNode):
        return []
    return list(_rows(top, prefix, text, text.splitlines()))


def _rows(node: yaml.MappingNode, prefix: str, text: str, lines: list[str]) -> Iterator[Row]:
    for key, value in node.value:
        name = f"{prefix}.{key.value}" if prefix else key.value
        about = "" if node.flow_style else _comment(key, value, lines)
        if isinstance(value, yaml.MappingNode) and value.value:
            yield Row(name, "", about)
            yield from _rows(value, name, text, lines)
        elif isinstance(value, yaml.ScalarNode) or value.flow_style:
            written = text[value.start_mark.index : value.end_mark.index]
            yield Row(name, " ".join(written.removeprefix(">-").split()), about)
        else:
            yield from _list(name, about, value, text, lines)


def _list(
    name: str, about: str, node: yaml.SequenceNode, text: str, lines: list[str]
) -> Iterator[Row]:
    """Yield a list; one of groups and their files yields a row for each group."""
    entries = []
    for entry in node.value:
        start, end = entry.start_mark, entry.end_mark
        written = text[start.index : end.index].split("#")[0].strip()
        group, _, file = written.removeprefix("optional ").partition(": ")
        if name == "defaults" and file and not group.startswith("override "):
            yield Row(group, file, _after_hash(lines[start.line]))
        elif written not in ("_self_", "schema"):  # Hydra's business
            entries.append(written)
    if entries:
        yield Row(name, ", ".join(entries), about or _after_hash(lines[start.line]))


def _comment(key: yaml.Node, value: yaml.Node, lines: list[str]) -> str:
    """Return the comment on a setting's line and those that go on with it below."""
    at, end = key.start_mark.line, value.end_mark
    after = end.column if end.line == at else key.end_mark.column
    found = [_after_hash(lines[at][after:])]
    for line in lines[at + 1 :]:
        deeper = len(line) - len(line.lstrip()) > key.start_mark.column
        if not (found[0] and deeper and line.lstrip().startswith("#")):
            break
        found.append(line.lstrip().removeprefix("#").strip())
    return " ".join(filter(None, found))


def _after_hash(line: str) -> str:
    """Return the comment of a line; a hash is one only after a space."""
    return f" {line}".partition(" #")[2].strip()


def _code(value: str) -> str:
    return f"`{_cell(value)}`" if value else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if text else ""
