"""Who may import whom, read from the syntax tree."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "fsad"
FILES = sorted(PACKAGE.rglob("*.py"))

# What each layer may import from fsad, besides itself.
LAYERS = {
    "errors": set(),
    "atomic": {"errors"},
    "colours": set(),
    "regular": {"errors"},
    "cells": set(),
    "files": {"atomic", "errors", "regular"},
    "store": {"errors", "files"},
    "progress": {"errors", "files"},
    "randomness": {"errors"},
    "functional": {"errors"},
    "nn": {"errors", "functional", "randomness", "store", "code"},
    "code": set(),
    "processes": set(),
    "memo": {"processes", "store"},
    "data": {"atomic", "errors", "files", "regular", "progress", "store", "code"},
    "metrics": {"errors", "functional"},
    "callbacks": {"errors", "files", "memo", "processes", "progress", "functional", "nn", "data"},
    "provenance": set(),
    "quiet": set(),
    "checkpoint": {"errors", "nn"},
    "pretrain": {
        "errors",
        "files",
        "randomness",
        "functional",
        "nn",
        "data",
        "callbacks",
        "checkpoint",
        "provenance",
        "quiet",
    },
}
# Methods know none of these.
TOP = {
    "pipeline",
    "job",
    "assemble",
    "trained",
    "category_run",
    "run_record",
    "table",
    "report",
    "cli",
    "config",
    "sweep",
    "export",
    "predict",
}

# Who alone may import a third party, as paths below the root; a folder stands for all in it.
OWNERS = {
    "timm": {"src/fsad/nn/weights.py"},
    "dhg": {"src/fsad/nn/res_hgnn.py"},
    "perlin_numpy": {"src/fsad/functional/perlin.py"},
    "torchmetrics": {"src/fsad/metrics"},
    "onnxruntime": {"src/fsad/predict/onnx.py"},
    "onnx_ir": {"src/fsad/export/onnx.py"},
    "onnxscript": set(),
    "onnx": set(),
    "hydra": {
        "train.py",
        "src/fsad/assemble.py",
        "src/fsad/config.py",
        "src/fsad/job.py",
        "src/fsad/sweep.py",
    },
    "plotly.io": {"src/fsad/report/figure.py"},
}
WITHOUT_LIGHTNING = {
    "errors",
    "files",
    "store",
    "progress",
    "randomness",
    "functional",
    "nn",
    "metrics",
}


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
    return ours - {layer_of(path)}


def method_of(parts: list[str] | tuple[str, ...]) -> str:
    return parts[1].removesuffix(".py") if len(parts) > 1 else ""


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_imports_lower_layers_only(path):
    layer = layer_of(path)
    imported = layers_imported(path)
    if layer in LAYERS:
        assert imported <= LAYERS[layer]
    elif layer == "methods":
        assert not imported & TOP
    else:
        assert "methods" not in imported  # they arrive through the configuration


def test_methods_never_import_each_other():
    for path in (PACKAGE / "methods").rglob("*.py"):
        own = method_of(path.relative_to(PACKAGE).parts)
        names = [name.split(".")[1:] for name in imports(path) if name.startswith("fsad.methods.")]
        assert {method_of(name) for name in names} <= {own}, name_of(path)


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
        ("fsad.predict.loop, fsad.predict.watch, fsad.threshold", {"torch", "lightning", "hydra"}),
        ("train", {"torch", "lightning", "timm", "dhg", "wandb"}),  # what --help imports
        ("fsad.cli", {"torch", "numpy", "onnxruntime"}),
        ("fsad.predict.onnx", {"torch", "lightning", "timm", "hydra", "onnxruntime"}),
        # the backbone and the method bring theirs
        ("fsad.job", {"timm", "dhg", "wandb", "plotly"}),
    ],
)
def test_importing_brings_only_what_is_needed(module, unneeded):
    code = f"import {module}, sys; print(*({unneeded!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
