"""The documentation builds without network, and what is written from the source is whole."""

import ast
import pkgutil
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import borrowed
import configuration
import equations
import pytest
import troubleshooting
import yaml

from fsad.data.layout import LAID_OUT

ROOT = Path(__file__).parents[1]
NEEDED = ("mkdocs", "material", "mkdocstrings", "griffe", "latex2mathml")
MISSING = [name for name in NEEDED if find_spec(name) is None]
needs_extra = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)} not installed: pip install -e '.[docs]'"
)
LOADS = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"?(?:https?:)?//[^\s>]+")
FAMILY = tuple(name for name in troubleshooting.GENERAL if name)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site once; a link, an anchor or a name that leads nowhere fails."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@needs_extra
def test_the_site_builds_and_has_every_page_of_the_navigation(site):
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2].partition("plugins:")[0]
    names = re.findall(r"[\w-]+\.md", navigation)
    assert {"index.md", "configuration.md", "troubleshooting.md", "api.md"} <= set(names)
    for name in names:
        assert (site / name).with_suffix(".html").stat().st_size > 1000


@needs_extra
def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert pages
    for page in pages:
        assert not LOADS.findall(page.read_text(encoding="utf-8")), page.name


@needs_extra
def test_the_page_of_the_api_has_equations_and_no_markup_of_another_language(site):
    text = (site / "api.html").read_text(encoding="utf-8")
    assert "<math" in text
    assert not re.search(r"^<math", text, re.M)  # Markdown would have ended the line of text
    assert not re.findall(r":(?:math|func|class|meth|attr|data|mod):|\.\. math|```", text)


@needs_extra
def test_an_equation_keeps_its_signs_and_its_number():
    drawn = equations.typeset("```math\ns^* = \\beta \\tag{18}\n```")
    assert drawn.count("<math") == 1
    assert "&#x0002A;" in drawn
    assert "*" not in drawn  # it would begin emphasis in Markdown
    assert "(18)" in drawn


def keys(node, prefix=""):
    """Yield every dotted key of a tree, leaves and not, and the groups that it chooses."""
    for name, value in node.items():
        if name == "defaults":
            chosen = [group for each in value if isinstance(each, dict) for group in each]
            # what follows another choice, "under@_here_: ${protocol}", is nobody's to choose
            own = (it for it in chosen if not it.startswith("override") and "@" not in it)
            yield from (each.split()[-1] for each in own)
            continue
        key = f"{prefix}{name}"
        yield key
        if isinstance(value, dict):
            yield from keys(value, f"{key}.")


def test_every_key_of_every_configuration_file_is_on_the_page():
    page = configuration.page()
    files = sorted((ROOT / "conf").rglob("*.yaml"))
    missing = []
    for file in files:
        folder, text = file.parent.relative_to(ROOT / "conf").as_posix(), file.read_text()
        whole = folder == "." or "@package _global_" in text
        prefix = "" if whole else folder.replace("/", ".") + "."
        part = page if folder == "." else page.partition(f"`{folder}=`")[2]
        title = f"`{folder}={file.stem}`" if not file.stem.startswith("_") else "whichever"
        part = part if folder == "." else part.partition(f"### {title}")[2].partition("\n##")[0]
        if file.stem.startswith("_"):
            part = page.partition(f"### `{folder}`, whichever it is")[2].partition("\n##")[0]
        found = yaml.safe_load(text) or {}
        missing += [
            (file.name, key) for key in keys(found, prefix) if not re.search(f"`{key}[`.]", part)
        ]
    assert len(files) > 40
    assert not missing


def test_a_setting_comes_with_its_value_and_its_comment(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text(
        "# About.\nalpha: 0.3   # a share\nplus:        # more\n  on: 'a # b'\n"
        "wide: false  # first\n             # second\nlist: [1, 2] # two\n"
    )
    assert [(row.key, row.value, row.about) for row in configuration.rows(file, "m")] == [
        ("m.alpha", "0.3", "a share"),
        ("m.plus", "", "more"),
        ("m.plus.on", "'a # b'", ""),
        ("m.wide", "false", "first second"),
        ("m.list", "[1, 2]", "two"),
    ]


def raised_literals():
    """Yield the literal parts of each message that ``src/fsad`` raises, with their place."""
    for file in sorted((ROOT / "src/fsad").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            call = node.exc if isinstance(node, ast.Raise) else None
            if not isinstance(call, ast.Call) or getattr(call.func, "id", "") not in FAMILY:
                continue
            parts = [
                each.value
                for argument in call.args
                for each in literals(argument)
                if isinstance(each.value, str)
            ]
            yield f"{file.name}:{node.lineno}", parts


def literals(node):
    """Yield a message's own words, not those of the expressions that it fills in."""
    if isinstance(node, ast.Constant):
        yield node
    elif isinstance(node, ast.JoinedStr):
        yield from (each for each in node.values if isinstance(each, ast.Constant))
    elif isinstance(node, ast.BinOp):
        yield from (*literals(node.left), *literals(node.right))


def test_every_message_that_is_raised_is_on_the_page_of_messages():
    page = " ".join(troubleshooting.page().replace("\\", "").split())
    messages = list(raised_literals())
    assert len(messages) > 200
    lost = [
        (place, part)
        for place, parts in messages
        for whole in parts
        for part in re.split(r"\. |\n", whole.replace("\\", ""))
        if " ".join(part.split()).rstrip(".") not in page
    ]
    assert not lost


def test_the_page_of_messages_has_train_pys_own_and_spells_named_texts_out():
    page = " ".join(troubleshooting.page().replace("\\", "").split())
    assert "expected the name of a setting, got an unknown one" in page  # train.py's own
    assert f"got neither `` {LAID_OUT}" in page
    assert "LAID_OUT" not in page


def test_the_page_of_messages_has_none_without_words_of_its_own():
    found = re.findall(r"^- `` (.*) ``\n\n {4}(.*)$", troubleshooting.page(), re.M)
    assert len(found) > 200
    general = troubleshooting.GENERAL.values()
    assert not [it for it in found if not re.sub(r"{.*?}|\W", "", it[0]) and it[1] in general]


def test_every_class_of_errors_has_a_remedy_of_its_own():
    tree = ast.parse((ROOT / "src/fsad/errors.py").read_text())
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert set(FAMILY) == set(classes) - {"FsadError"}


def test_every_equation_of_the_method_is_explained():
    text = (ROOT / "docs/hypertrans.md").read_text(encoding="utf-8")
    explained = set()
    for first, last in re.findall(r"\\tag\{(\d+)(?:(?:–|, )(\d+))?\}", text):  # 6, or 12–17
        explained |= set(range(int(first), int(last or first) + 1))
    assert explained == set(range(3, 20))


@pytest.mark.parametrize("name", borrowed.PAGES)
def test_a_borrowed_page_is_its_file(name):
    file = ROOT / borrowed.PAGES[name]
    assert borrowed.page(name).endswith(file.read_text(encoding="utf-8"))


def test_every_page_is_in_the_navigation_once():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2].partition("plugins:")[0]
    names = sorted(re.findall(r"[\w-]+\.md", navigation))
    written = {"configuration.md", "troubleshooting.md", *borrowed.PAGES}
    assert names == sorted({page.name for page in (ROOT / "docs").glob("*.md")} | written)


def test_readme_is_one_page_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]+)(#[^)]*)?\)", text):
        assert (ROOT / target).exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", (ROOT / target).read_text(encoding="utf-8"), re.M)
            assert anchor[1:] in [title.lower().replace(" ", "-") for title in titles]


def test_readmes_results_are_those_of_the_results_page():
    row = re.compile(r"^\| `(\w+)`[^|]*\| (.*) \|$", re.M)
    readme = row.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    measured = {}
    for name, cells in row.findall(
        page.partition("**Generated pairs**")[2].partition("**cable")[0]
    ):
        _, image, _, in_part, _, region = cells.split(" | ")
        measured[name] = [image, in_part, region]  # ResNet-18's rows are below those of tiny
    assert len(readme) == len(measured) == 11
    assert {name: cells.split(" | ") for name, cells in readme} == measured


def test_a_link_to_the_repository_leads_to_its_page_or_becomes_text():
    relink = borrowed.relink
    text = "[a](../benchmarks/results/table.md) [b](methods.md#x) [c](https://x.y) [d](../LICENSE)"
    assert relink(text, "docs/scaling.md", "scaling.md") == (
        "[a](benchmarks.md) [b](methods.md#x) [c](https://x.y) d (`LICENSE`)"
    )
    assert relink("[m](docs/methods.md)", "CONTRIBUTING.md", "contributing.md") == "[m](methods.md)"
    with pytest.raises(ValueError, match=r"docs/a\.md: expected a file at '\.\./gone', got none"):
        relink("[g](../gone)", "docs/a.md", "a.md")


def test_every_name_of_the_api_page_is_there():
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    for name in re.findall(r"(?m)^::: (\S+)$", page):
        assert pkgutil.resolve_name(name) is not None
