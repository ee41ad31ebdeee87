"""Every command that the documentation gives is one that the program takes."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from typer.main import get_command

from fsad.cli import app
from fsad.run.config import register

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))),
)
FENCE = re.compile(r"^```bash\n(.*?)^```", re.S | re.M)
SPAN = re.compile(r"(?<!`)`((?:fsad|make|python train\.py) [^`]+)`(?!`)")
WORDS = ("fsad ", "make ", "python train.py")
HYDRAS = {"-m", "--multirun", "--help", "--cfg", "job"}  # of train.py, besides its overrides
MAKEFILE = (ROOT / "Makefile").read_text()


def commands():
    """Yield page and command: the lines of fences, and what stands between backticks."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        fenced = "".join(FENCE.findall(text)).replace("\\\n", " ").splitlines()
        found = [*fenced, *SPAN.findall(FENCE.sub("", text))]
        for line in found:
            for part in re.split(r" && |, or many: ", line):
                command = part.strip()
                if command.startswith(WORDS):
                    yield page, command


def given(start):
    """Return the commands that begin with a word, each once."""
    found = dict.fromkeys((page, line) for page, line in commands() if line.startswith(start))
    return [pytest.param(line, id=f"{page}: {line}") for page, line in found]


def split(command):
    """Return a command's words without comments, with something in place of an ellipsis."""
    return shlex.split(command.replace("…", ""), comments=True)


def overrides_are_taken(words):
    """Compose a run, or every value of an axis, from the words after ``train.py``."""
    register()
    words = [word for word in words if word not in HYDRAS]
    parser = OverridesParser.create()
    sweep = [each for each in parser.parse_overrides(words) if each.is_sweep_override()]
    held = [word for word in words if word not in {each.input_line for each in sweep}]
    needed = [] if any("output_dir" in word for word in held) else ["paths.output_dir=out"]
    chosen = [
        [f"{each.key_or_group}={value}"] for each in sweep for value in each.sweep_string_iterator()
    ]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for more in chosen or [[]]:
            compose("train", overrides=[*needed, *held, *more], return_hydra_config=True)


def is_taken(words):
    """Let typer read the words after ``fsad``; what is wrong raises."""
    group = get_command(app)
    while hasattr(group, "commands"):
        options = [name for each in group.params for name in (*each.opts, *each.secondary_opts)]
        while words and words[0].startswith("-"):
            assert words[0] in (*options, "--help"), words[0]
            words = words[1:]
        if not words or words[0].isupper():  # fsad --help, fsad --debug COMMAND
            return
        assert words[0] in group.commands, words[0]
        group, words = group.commands[words[0]], words[1:]
    if words and "--help" not in words:  # a command's bare name stands for it in a sentence
        assert not group.make_context(group.name, words).args


@pytest.mark.parametrize("command", given("fsad"))
def test_a_command_of_fsad_is_taken_with_its_options(command):
    is_taken(split(command)[1:])


@pytest.mark.parametrize(
    "wrong", ["predit RUN a.tiff", "data chek my_data", "report RUN --refrence x", "predict -o x"]
)
def test_a_command_of_fsad_that_is_wrong_would_be_found(wrong):
    with pytest.raises(Exception, match=r"predit|chek|refrence|-o"):
        is_taken(wrong.split())


@pytest.mark.parametrize("command", given("make"))
def test_a_command_of_make_has_a_target_and_variables_and_what_it_passes_on_is_taken(command):
    words = split(command)[1:]
    targets = [word for word in words if "=" not in word]
    assert targets
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.M)
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    for name in variables:
        assert re.search(rf"^{name} \?=", MAKEFILE, re.M)
    arguments = shlex.split(variables.get("ARGS", ""))
    if targets == ["sweep"] and variables.get("NAME"):
        name = variables["NAME"].strip("[]").split(",")
        assert all((ROOT / f"conf/sweep/{each}.yaml").exists() for each in name)
        overrides_are_taken([f"sweep={variables['NAME']}", *arguments])
    elif targets == ["train"]:
        overrides_are_taken(arguments)


@pytest.mark.parametrize("command", given("python train.py"))
def test_what_train_is_told_composes(command):
    overrides_are_taken(split(command)[2:])


def test_there_are_commands_on_the_pages_that_users_begin_with():
    pages = {page for page, _ in commands()}
    assert {"README.md", "docs/quickstart.md", "docs/your-data.md"} <= pages
    assert len(list(commands())) > 40


@pytest.mark.parametrize("wrong", ["method.alhpa=0.5", "backbone=resnet19", "data.shotss=1,2"])
def test_a_command_with_a_misspelt_word_would_be_found(wrong):
    with pytest.raises(Exception, match=r"alhpa|resnet19|shotss"):
        overrides_are_taken([wrong])
