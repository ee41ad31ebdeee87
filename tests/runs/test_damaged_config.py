"""A run whose config.yaml is damaged: one line that names the file, whoever reads it."""

import shutil

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from fsad.cli import app

NEVER = "&a\nx: *a\n"  # a mapping that holds itself
DAMAGES = {
    "an unknown key": lambda text: f"surprise: 1\n{text}",
    "null": lambda _: "null\n",
    "nothing": lambda _: "",
    "a list": lambda _: "- a\n- b\n",
    "text": lambda _: "hello\n",
    "an alias loop": lambda _: NEVER,
    "no yaml": lambda text: text[:200],
    "deep nesting": lambda _: "a: " + "[" * 3000 + "]" * 3000,
    "no text": lambda _: "\x00\x01",
    "a group without settings": lambda text: changed(text, "method", None),
    "a number for a group": lambda text: changed(text, "backbone", 3),
    "text for a number": lambda text: changed(text, "seed", "hello"),
    "a number for loggers": lambda text: changed(text, "logger", 3),
    "an unknown key within": lambda text: changed(text, "method.surprise", 1),
    "a setting that refers to itself": lambda text: changed(
        text, "data.image_size", "${backbone.image_size}"
    ),
    "a setting of another type": lambda text: changed(text, "data.image_size", "big"),
    "a unit of another type": lambda text: changed(text, "data.unit", ["m"]),
    "a damaged name of a rule": lambda text: changed(text, "data.invblid", [65535]),
    "a foreign class": lambda text: changed(text, "backbone._target_", "shutil.which"),
}
WITHIN = ["an unknown key within", "a setting of another type", "a foreign class"]


def changed(text, key, value):
    whole = yaml.safe_load(text)
    *above, last = key.split(".")
    node = whole
    for name in above:
        node = node[name]
    node[last] = value
    return yaml.safe_dump(whole)


@pytest.fixture(scope="module")
def damaged(finished, tmp_path_factory):
    """A copy of a finished run, and the text of its settings."""
    copy = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(finished, copy)
    return copy, (copy / "config.yaml").read_text()


def spoil(damaged, how):
    run, text = damaged
    (run / "config.yaml").write_text(DAMAGES[how](text))
    return run


def told_in_one_line(error, run):
    assert error.count("\n") == 1, error
    assert error.removeprefix("error: ").startswith(f"{run}/config.yaml: expected "), error


@pytest.mark.parametrize("how", DAMAGES)
def test_prediction_names_the_file_in_one_line(damaged, how, tmp_path):
    run = spoil(damaged, how)
    np.save(tmp_path / "a.npy", np.ones((9, 9)))
    words = ["predict", run, tmp_path / "a.npy", "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 1
    told_in_one_line(result.stderr, run)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["an alias loop", *WITHIN])
def test_export_names_the_file_in_one_line(damaged, how, tmp_path):
    run = spoil(damaged, how)
    words = ["export", run, "-o", tmp_path / "a.onnx"]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 1
    told_in_one_line(result.stderr, run)


@pytest.mark.parametrize("how", ["null", "an alias loop", *WITHIN])
@pytest.mark.parametrize("word", ["resume", "ckpt"])
def test_going_on_and_testing_again_name_the_file_in_one_line(
    command, damaged, word, how, tmp_path
):
    if word == "ckpt" and how in WITHIN:
        pytest.skip("its settings can be the command line's too, and are named as such")
    run = spoil(damaged, how)
    code, said = command(f"{word}={run}", f"hydra.run.dir={tmp_path}", small=())
    assert code == 1
    told_in_one_line(f"{said}\n", run)


@pytest.mark.parametrize("how", ["null", "an alias loop", "no text"])
def test_the_table_and_the_report_read_results_and_do_not_mind(damaged, how, tmp_path):
    run = spoil(damaged, how)
    for words in (
        ["table", run, "--out", tmp_path / "table"],
        ["report", run, "--out", tmp_path / "report.html"],
    ):
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == 0, result.stderr
