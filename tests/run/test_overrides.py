"""Paths with odd signs on train.py's command line: quoted they arrive, else a line tells how."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from fsad.run.overrides import pasted, quoted, unreadable

ROOT = Path(__file__).parents[2]
TEXTS = [
    "/data/my set",
    "/data/a,b",
    "/data/a=b",
    "/data/a[1]",
    "/data/{a}",
    "/data/(a)",
    "/data/it's",
    '/data/"a"',
    "/data/ä#&;",
    " ends ",
    "back\\",
    "back\\'s",
    "\\\\'",
    "a\\\\b",
    "${a}",
    "$HOME `ls` !",
    "null",
    "1",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_quoted_text_is_what_hydra_reads(text):
    value = OverridesParser.create().parse_override(f"key={quoted(text)}").value()
    assert OmegaConf.create({"key": value}).key == text


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_to_be_pasted_leaves_the_shell_as_hydra_wants_it(text):
    word = pasted("key", text)
    assert shlex.split(word) == [f"key={quoted(text)}"]
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout.decode() == f"key={quoted(text)}"


def test_an_override_without_a_value_is_not_for_quoting():
    assert unreadable("data.root") is None
    assert unreadable("=a") is None
    assert unreadable("data.root=") is None


def train(*words):
    return subprocess.run(
        [sys.executable, "train.py", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("text", ["/data/a,b", "/data/a=b", "/data/a[1]", "/data/it's"])
def test_a_path_that_hydra_cannot_read_is_one_line_that_says_how_to_quote_it(text, tmp_path):
    done = train(f"data.root={text}", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"data.root: expected a value that Hydra can read, got {text}. ")
    assert "needs quotation marks twice" in done.stderr
    remedy = done.stderr.strip().partition("shell: ")[2]
    assert remedy == pasted("data.root", text)
    (word,) = shlex.split(remedy)
    shown = train("--cfg", "job", "--package", "data", "data=mvtec3d", word)
    assert shown.returncode == 0
    assert OmegaConf.create(shown.stdout).root == text


def test_the_page_on_own_data_quotes_as_the_program_does():
    page = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
    examples = re.findall(r"(data\.root=.*|\"data\.root=.*|'data\.root=.*)  # (.+)$", page, re.M)
    assert len(examples) >= 4
    for word, path in examples:
        assert word == pasted("data.root", path)
