"""Who may import whom, read from the syntax tree."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "fsad"
FILES = sorted(PACKAGE.rglob("*.py"))

# The units of the package, lowest first, and what each may import from fsad besides itself. A unit
# is a folder, or a module beside the folders.
BASE = {"errors", "runtime", "storage"}
LAYERS = {
    "errors": set(),
    "runtime": {"errors"},
    "storage": {"errors", "runtime"},
    "functional": {"errors"},
    "nn": {*BASE, "functional"},
    "metrics": {"errors", "functional"},
    "data": {*BASE, "metrics"},
    "scores": {*BASE, "functional", "metrics", "data"},
    "results": {*BASE, "metrics", "data", "scores"},
    "engine": {*BASE, "functional", "nn", "metrics", "data", "scores", "results"},
    "methods": {*BASE, "functional", "nn", "data", "scores", "results", "engine"},
    "pretrain": {*BASE, "functional", "nn", "data", "engine"},
    "predict": {*BASE, "data", "scores", "results", "engine"},
    "export": {*BASE, "nn", "data", "scores", "results", "engine", "predict"},
    "report": {*BASE, "functional", "metrics", "data", "scores", "results"},
    "run": {*BASE, "functional", "data", "results", "engine", "predict", "export", "report"},
    "__init__": {"functional", "metrics", "data", "results", "methods", "predict"},  # public names
    "cli": {*BASE, "__init__", "data", "results", "pretrain", "predict", "export", "report"},
}
# What of a unit alone may import another: the rest of it does without.
DOORS = {("data", "metrics"): "data/inspect"}

# Who alone may import a third party, as paths below the root; a folder stands for all in it.
OWNERS = {
    "timm": {"src/fsad/nn/timm_networks.py"},
    "dhg": {"src/fsad/nn/res_hgnn.py"},
    "perlin_numpy": {"src/fsad/functional/perlin.py"},
    "torchmetrics": {"src/fsad/metrics"},
    "onnxruntime": {"src/fsad/predict/onnx.py"},
    "onnx_ir": {"src/fsad/export/onnx.py"},
    "onnxscript": set(),
    "onnx": set(),
    "hydra": {
        "train.py",
        "src/fsad/engine/assemble.py",
        "src/fsad/engine/stored.py",
        "src/fsad/run",
    },
    "plotly.io": {"src/fsad/report/figure.py"},
}
WITHOUT_LIGHTNING = {"errors", "storage", "functional", "nn", "metrics", "scores", "results"}


def imports(path: Path, *, on_import: bool = False) -> Iterator[str]:
    """Yield the dotted names a file imports; ``on_import``: only those its own import runs."""
    package = list(path.relative_to(ROOT / "src").parent.parts) if PACKAGE in path.parents else []
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*here, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        if not (
            on_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        ):
            nodes.extend(ast.iter_child_nodes(node))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def layer_of(path: Path) -> str:
    """``errors`` for ``src/fsad/errors.py``, ``nn`` for ``src/fsad/nn/adapter.py``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layers_imported(path: Path) -> set[str]:
    """The layers of ours that a file imports, other than its own."""
    names = [name.split(".") for name in imports(path)]
    ours = {name[1] for name in names if name[0] == "fsad" and len(name) > 1}
    units = {layer_of(file) for file in FILES}
    return {name if name in units else "__init__" for name in ours} - {layer_of(path)}


def method_of(parts: list[str] | tuple[str, ...]) -> str:
    return parts[1].removesuffix(".py") if len(parts) > 1 else ""


def test_every_unit_has_a_rule_and_every_rule_a_unit():
    assert {layer_of(path) for path in FILES} == set(LAYERS)


def test_no_module_lies_loose_beside_the_folders():
    loose = {path.name for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__.py", "errors.py"}


def test_the_rules_have_no_circle():
    done: set[str] = set()
    for layer, allowed in LAYERS.items():  # lowest first
        assert allowed <= done, layer
        done.add(layer)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_imports_lower_layers_only(path):
    assert layers_imported(path) <= LAYERS[layer_of(path)]


@pytest.mark.parametrize(("unit", "imported"), DOORS)
def test_a_part_of_a_unit_alone_imports_what_the_rest_does_without(unit, imported):
    for path in (PACKAGE / unit).rglob("*.py"):
        if imported in layers_imported(path):
            assert path.is_relative_to(PACKAGE / DOORS[unit, imported]), name_of(path)


BEGINS_WITH = {"ahl": {"devnet", "dra"}}
"""Methods over others: their first stage is another's own, and runs of both share it."""


def test_methods_never_import_each_other_but_for_the_one_that_they_begin_with():
    for path in (PACKAGE / "methods").rglob("*.py"):
        own = method_of(path.relative_to(PACKAGE).parts)
        names = [name.split(".")[1:] for name in imports(path) if name.startswith("fsad.methods.")]
        allowed = {own, "shared"} | BEGINS_WITH.get(own, set())
        assert {method_of(name) for name in names} <= allowed, name_of(path)


# Units that know no method.
FOR_EVERY_METHOD = {
    "runtime",
    "storage",
    "functional",
    "nn",
    "metrics",
    "data",
    "scores",
    "engine",
    "predict",
    "export",
    "results",
    "report",
}
NAMING_ONE = {
    "src/fsad/results/agreed.py",  # keys of result.json, which scripts read
    "src/fsad/results/retired.py",  # what runs of earlier versions say and leave unsaid
    "src/fsad/report/sections/perturbation.py",  # of one stage, where a run kept some of it
    "src/fsad/report/sections/rectification.py",  # of one stage, where a run kept some of it
}
STAGES = {"perturb", "rectify", "teacher", "student"}


def names_of_one_method(path: Path) -> set[str]:
    """Find texts, other than documentation, that name a setting or a stage of a method."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documented
    }
    return {text for text in texts if re.search(r"\bmethod\.[a-z_]+", text)} | (texts & STAGES)


@pytest.mark.parametrize(
    "path", [path for path in FILES if layer_of(path) in FOR_EVERY_METHOD], ids=name_of
)
def test_what_serves_every_method_names_no_setting_or_stage_of_one(path):
    assert bool(names_of_one_method(path)) == (name_of(path) in NAMING_ONE)


def test_the_report_names_no_number_of_one_method():
    for path in (PACKAGE / "report").rglob("*"):
        if path.suffix in {".py", ".js", ".html"}:
            words = set(re.findall(r"\w+", path.read_text(encoding="utf-8").lower()))
            assert not words & {"alpha", "beta", "excess", "cross_domain"}, name_of(path)


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_has_one_door(library):
    users = {
        name_of(path)
        for path in [*FILES, ROOT / "train.py"]
        if path.exists() and any(f"{name}.".startswith(f"{library}.") for name in imports(path))
    }
    strangers = {
        user
        for user in users
        if not any(user == door or user.startswith(f"{door}/") for door in OWNERS[library])
    }
    assert not strangers


@pytest.mark.parametrize("layer", sorted(WITHOUT_LIGHTNING))
def test_the_mathematics_works_without_lightning(layer):
    for path in FILES:
        if layer_of(path) == layer:
            used = {name.split(".")[0] for name in imports(path)}
            assert not used & {"lightning", "pytorch_lightning"}, name_of(path)


def test_what_is_done_of_a_category_is_told_without_a_trainer():
    brought = {name.split(".")[0] for name in imports(PACKAGE / "engine" / "category_run.py")}
    assert "lightning" not in brought  # category_trainer.py has it


def test_wandb_is_imported_only_when_it_is_asked_for():
    for path in FILES:
        on_import = {name.split(".")[0] for name in imports(path, on_import=True)}
        assert "wandb" not in on_import or path.stem == "loggers", name_of(path)


@pytest.mark.parametrize("library", ["onnxruntime", "onnx_ir"])
def test_what_an_extra_brings_is_imported_only_when_it_is_asked_for(library):
    for path in FILES:
        on_import = {name.split(".")[0] for name in imports(path, on_import=True)}
        assert library not in on_import, name_of(path)


def test_importing_the_package_imports_nothing():
    brought = {name.split(".")[0] for name in imports(PACKAGE / "__init__.py", on_import=True)}
    assert brought <= {"pathlib", "typing", "fsad"}  # fsad: for types alone


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("fsad", {"torch", "hydra", "numpy", "fsad.predict"}),
        (
            "fsad.predict.loop, fsad.predict.watch, fsad.scores.threshold",
            {"torch", "lightning", "hydra"},
        ),
        ("train", {"torch", "lightning", "timm", "dhg", "wandb"}),  # what --help imports
        ("fsad.cli", {"torch", "numpy", "onnxruntime"}),
        ("fsad.predict.onnx", {"torch", "lightning", "timm", "hydra", "onnxruntime"}),
        (
            "fsad.predict.from_run, fsad.methods.hypertrans, fsad.nn.backbone",
            {"timm", "torchvision", "torch._dynamo", "dhg", "lightning", "huggingface_hub"},
        ),
        # the backbone and the method bring theirs
        ("fsad.run.job", {"timm", "dhg", "wandb", "plotly"}),
    ],
)
def test_importing_brings_only_what_is_needed(module, unneeded):
    code = f"import {module}, sys; print(*({unneeded!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
