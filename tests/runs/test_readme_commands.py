"""Every command of README and its longest pages does what is said there, in a new user's folder.

They are taken from the pages. "Your own data in five minutes" runs as it stands, in a shell. The
rest runs in this process and on less: of ``make`` it is the line that it would run, ``python
train.py`` gets the overrides that make a run small, PATH, RUN_DIR, ... are what the folder has of
the kind.
"""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import save_file
from typer.testing import CliRunner

import fsad
from fsad.cli import app
from fsad.data.synthetic import Synthetic
from fsad.nn.timm_networks import create_cnn
from fsad.run.config import register

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/train.md", "docs/results.md", "docs/scaling.md")
TEXT = "\n\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
QUICK_START = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
FENCES = re.compile(r"^```bash\n(.*?)^```", re.S | re.M)
TABLE = re.compile(r"^\| to \| say \|\n.*?\n\n", re.S | re.M)
PIECE = re.compile("|".join(each.pattern for each in (FENCES, TABLE, SPAN)), re.S | re.M)
BARE = re.compile(r"`fsad [a-z ]+`")  # a command's name in a sentence
WORDS = ("fsad ", "make ", "pip ", "python ", "source ")
FIVE_MINUTES = next(lines for lines in FENCES.findall(TEXT) if "my_data" in lines)
FILES = [
    name.replace("<category>", "*") + "*" * name.endswith("/")
    for row in re.findall(r"\| file \| holds \|\n.*?\n\n", QUICK_START, re.S)[0].splitlines()
    for name in SPAN.findall(row.split("|")[1] if row else "")
]

NOT_RUN = {
    r"make (test|check)": "is this suite, the latter with style and types",
    r"make docs": "is run by tests/test_docs.py",
    r"make bench(-peer)?": "takes long; tests/test_benchmarks.py runs its parts",
    r"make sweep NAME='\[.*\]'": "is 1815 runs; with the next ARGS, which cut its axes, it is two",
    r"make sweep .*launcher=joblib.*": "is run by tests/runs/test_sweep.py",
    r"python .* trainer\.devices=2 .*": "is run by tests/runs/test_processes.py",
    r"python .*launcher=(submitit_slurm|ray)": "needs Slurm, or Ray",
    r"python train\.py data=elpv .*": "needs 90 MB; tests/data has a small one",
    r"python train\.py logger=wandb": "needs an account; the next does without",
    r"fsad pretrain .*": "takes an hour; tests/pretrain has a small one",
    r"pip install .*|source .*": "is about the environment, which is there",
}
SHALLOW = ("backbone.model_args.depth=2", "backbone.layers=[0]")  # to export and compile it is long
COMPILERS = ("g++", "c++", "clang++")
CUT = {
    "NAME=shots": "data.shots=1 seed=0,1",
    "NAME=comparison": "method=patchcore,hypertrans data.shots=1 seed=0",
    "alpha_beta,shots": "data.shots=1 seed=0",
    " -m ": "report=false",
}
SHOTS = "make sweep NAME=shots"
NEEDS = {
    r"RUN_DIR|outputs": "make train",
    r"multirun": "make sweep NAME=comparison",
    r"RESUME=": SHOTS,
}
LEAVES = {  # the files that a command writes, by how it begins: the first that fits
    r"make train": [f"outputs/*/{name}" for name in FILES if name != "report.html"],
    r"make sweep .*RESUME=": ["multirun/*/0/result.json", "multirun/*/0/table.md"],
    r"make sweep|python .* -m ": ["multirun/*/0/result.json", "multirun/*/1/result.json"],
    r"python train\.py export=true": ["outputs/*/categories/*/model.onnx"],
    r"python train\.py": ["outputs/*/result.json", "outputs/*/table.md"],
    r"make table .*REFERENCE=": ["tables/table.md", "tables/differences.md"],
    r"make table": ["tables/table.md", "tables/table.csv"],
    r"fsad report": ["report.html"],
    r"fsad export": ["*/categories/*/model.onnx"],
    r"fsad predict": ["predictions/predictions.csv", "predictions/*.png"],
    r"fsad data prepare": ["copy/*/train/good/xyz/000.tiff", "copy/*/train/good/rgb/000.png"],
    r"fsad data": [],
}
SAYS = {"fsad data check": "no problems found", "fsad data audit": "image AUROC of trivial"}


def commands():
    """Yield the pages' commands: lines of fences, what is in backticks, what a table says."""
    for piece in PIECE.finditer(TEXT):
        text = piece[0]
        if TABLE.match(text):
            for row in text.splitlines()[1:-1]:
                yield from said(row.split("|")[2])
        elif lines := FENCES.findall(text):
            if lines != [FIVE_MINUTES]:
                for line in re.sub(r"\\\n\s*", "", lines[0]).splitlines():
                    yield re.sub(r"\s*#.*", "", line)
        elif text[1:].startswith(WORDS) and not BARE.fullmatch(text):
            yield text[1:-1]


def said(cell):
    """Yield what a row says: commands, variables of ``make sweep``, overrides of ``train.py``."""
    sweep = SHOTS
    for span in SPAN.findall(cell):
        if span.startswith("NAME="):
            sweep = f"make sweep {span}"
            yield sweep
        elif span.startswith(WORDS):
            yield span
        elif span.startswith(("ARGS=", "RESUME=")):
            yield f"{sweep} {span}"
        elif "=" in span:
            yield f"python train.py {span}"


COMMANDS = [line for line in dict.fromkeys(commands()) if line]
TAKEN = [line for line in COMMANDS if line.startswith("python ") and "launcher" not in line]


def left_out(line):
    return any(re.fullmatch(kind, line) for kind in NOT_RUN)


def first(choices, line):
    return next((it for kind, it in choices.items() if re.match(kind, line)), None)


class World:
    """A folder with the program, data, and what the commands given to it have left."""

    def __init__(self, folder):
        self.folder, self.done = folder, {}

    def files(self):
        """When each file was written."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.stat().st_mtime_ns for path in found}

    def run_of(self, line):
        """The first run, relative to the folder, that a command which was given has left."""
        written, _ = self.done[line]
        return Path(min(name for name in written if name.endswith("/result.json"))).parent

    def shell(self, lines, path=""):
        """Run lines as typed into a shell whose environment is active."""
        active = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        python = os.pathsep.join(filter(None, (path, os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            ["bash", "-e"],
            input=lines,
            cwd=self.folder,
            env=os.environ | {"PATH": active, "PYTHONPATH": python},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The program, two data sets and a file of weights; then the five minutes have gone by."""
    folder = tmp_path_factory.mktemp("world")
    for name in ("train.py", "conf"):
        (folder / name).symlink_to(ROOT / name)
    made = Synthetic(
        tmp_path_factory.mktemp("made"), size=64, n_train=5, n_validation=0, n_test_good=2,
        n_test_defect=1, categories=["bolt", "knob"], defects=["dent"],
    ).root  # fmt: skip
    shutil.copytree(made / "knob", folder / "my_data/bracket")
    shutil.copytree(made / "knob", folder / "downloads/cable_gland")
    shutil.copytree(made / "bolt", folder / "downloads/bagel")
    shutil.copytree(made / "knob/test/dent/xyz", folder / "new_parts")
    save_file(create_cnn("resnet18.tv_in1k", 0).state_dict(), folder / "resnet18.safetensors")
    world = World(folder)
    assert "no problems found" in world.shell(FIVE_MINUTES)
    return world


@pytest.fixture
def do(world, command, small, small_on_disk, cache, monkeypatch):
    """``do(line)``: give a command, once, after what it needs; return what it wrote."""
    monkeypatch.chdir(world.folder)
    monkeypatch.setenv("FSAD_CACHE_DIR", str(cache))

    def go(line):
        if line in world.done:
            return world.done[line]
        for kind, needed in NEEDS.items():
            if re.search(kind, line) and line != needed:
                go(needed)
        if "resume=" in line.lower():
            unfinish(world.folder / world.run_of(SHOTS if "RESUME" in line else "make train"))
        shutil.rmtree(world.folder / "predictions", ignore_errors=True)  # none is written over
        while (world.folder / time.strftime("outputs/%Y-%m-%d/%H-%M-%S")).exists():
            time.sleep(0.1)  # a run's folder is named by the second in which it starts
        before = world.files()
        words = shlex.split(filled(line, world))
        fewer = shrunk(line, small, small_on_disk)
        if words[0] == "make":
            words, fewer = recipe(words[1:], fewer), ()
        if "bracket.onnx" in words:
            output = world.shell(shlex.join(words), path=str(without_torch(world.folder)))
        elif "backbone.compile=true" in words:  # warns in this process, of what torch does inside
            output = world.shell(shlex.join([*words[:2], *fewer, *words[2:]]))
        elif Path(words[0]).name == "fsad":
            done = CliRunner().invoke(app, words[1:])
            assert done.exit_code == 0, done.output
            output = done.output
        else:
            code, output = command(*words[2:], small=fewer, folder=world.folder)
            assert code == 0, output
        written = [name for name, when in world.files().items() if when != before.get(name)]
        world.done[line] = written, output
        return world.done[line]

    return go


def filled(line, world):
    """Put what the folder has in place of the pages' placeholders."""
    has = {
        "PATH…": "new_parts",
        "PATH": "downloads",
        "COPY": "copy",
        "FILE": "resnet18.safetensors",
    }
    if "RUN_DIR" in line:
        has["RUN_DIR"] = str(world.run_of("make train"))
    if "FOLDER" in line:
        has["FOLDER"] = str(world.run_of(SHOTS).parent)
    for placeholder, thing in has.items():
        line = line.replace(placeholder, thing)
    return line


def shrunk(line, small, small_on_disk):
    """Return the overrides that make the run which a line starts a small one."""
    fewer = [*small, *SHALLOW]
    if re.search(" (ckpt|resume)=", line):
        fewer = []  # its settings are those of the run it names
    elif "mvtec3d" in line:
        own = ("data.category=", "data.shots=")
        fewer = [word for word in (*small_on_disk, *SHALLOW) if not word.startswith(own)]
        if "backbone=" not in line:
            fewer.append("backbone=tiny")  # DINO's weights would be fetched
    for kind, needless in {"backbone=resnet18": "backbone.", "NAME=comparison": "method."}.items():
        if kind in line:
            fewer = [word for word in fewer if not word.startswith(needless)]
    return (*fewer, *(word for kind, cut in CUT.items() if kind in line for word in cut.split()))


def recipe(words, fewer):
    """Return the words of the line that make would run, with fewer in ARGS."""
    given = [word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")]
    rest = [word for word in words if not word.startswith("ARGS=")]
    make = ["make", "--dry-run", "--no-print-directory", "-o", ".venv/installed"]
    made = [f"BIN={Path(sys.executable).parent}", f"ARGS={' '.join([*fewer, *given])}"]
    done = subprocess.run(
        [*make, *made, *rest], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return shlex.split(done.stdout)


def unfinish(run):
    """Leave a finished run as one killed in its test."""
    (run / "result.json").unlink()
    for name in ("category.json", "patch_scores.safetensors"):
        next(run.glob(f"categories/*/{name}")).unlink()


def without_torch(folder):
    """Return a folder for PYTHONPATH with which torch cannot be imported."""
    folder = folder.parent / f"{folder.name}_without_torch"
    (folder / "torch").mkdir(parents=True)
    (folder / "torch/__init__.py").write_text("raise ImportError('torch is not here')")
    return folder


@pytest.mark.parametrize("line", [line for line in COMMANDS if not left_out(line)], ids=str)
def test_a_command_writes_and_says_what_it_should(do, line):
    if "backbone.compile=true" in line and not any(map(shutil.which, COMPILERS)):
        pytest.skip(f"needs a C++ compiler: none of {', '.join(COMPILERS)} is installed")
    expected = first(LEAVES, line)
    assert expected is not None, "neither LEAVES nor NOT_RUN knows it"
    written, output = do(line)
    assert not [name for name in expected if not any(fnmatch(each, name) for each in written)]
    assert (first(SAYS, line) or "") in output


def test_after_five_minutes_there_is_what_quick_start_lists_and_a_decision_on_each_new_part(world):
    run = world.folder / "outputs/bracket"
    assert len(FILES) > 8
    assert not [name for name in FILES if not list(run.glob(name))]
    rows = list(csv.DictReader((world.folder / "checked/predictions.csv").read_text().splitlines()))
    assert len(rows) == len(list((world.folder / "new_parts").iterdir()))
    assert (world.folder / "bracket.onnx").stat().st_size > 1e6


def test_in_python_a_finished_run_predicts(world, monkeypatch):
    monkeypatch.chdir(world.folder)
    (line,) = {span for span in SPAN.findall(TEXT) if span.startswith("fsad.load")}
    names = {"fsad": fsad, "RUN_DIR": "outputs/bracket", "array_or_path": "new_parts/000.tiff"}
    assert torch.isfinite(torch.as_tensor(eval(line, names).score))


@pytest.mark.parametrize("line", [line for line in TAKEN if left_out(line)], ids=str)
def test_what_train_is_told_is_taken_where_it_is_not_run(line):
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        compose("train", overrides=["paths.output_dir=out", *shlex.split(line)[2:]])


@pytest.mark.parametrize("new", ["fsad frobnicate RUN_DIR", "make coffee", "docker run fsad"])
def test_a_new_command_would_be_found(new):
    assert not left_out(new)
    assert first(LEAVES, new) is None


def test_what_is_not_run_is_still_on_the_pages_and_most_is_run():
    for kind in NOT_RUN:
        assert any(re.fullmatch(kind, line) for line in COMMANDS), kind
    assert sum(not left_out(line) for line in COMMANDS) > 25
