"""The ``fsad`` command: what it prints, and its exit codes."""

import logging
import os
import shutil
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from fsad.cli import app, main
from fsad.cli.data import sizes_said
from fsad.errors import DataError
from fsad.results.table import Runs


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def source(tmp_path):
    """Write one category with a ball on flat ground in every folder, 64 pixels wide."""
    axis = (np.arange(64) - 31.5) / 64
    x, y = np.meshgrid(axis, axis)
    height = np.sqrt(np.clip(0.04 - x**2 - y**2, 0, None))
    z = 1 - height
    xyz = np.stack([x * z, y * z, z], axis=-1).astype(np.float32)
    for place in ("train/good", "test/good", "test/dent"):
        folder = tmp_path / "download" / "ball" / place
        for kind in ("rgb", "xyz", "gt"):
            (folder / kind).mkdir(parents=True)
        tifffile.imwrite(folder / "xyz/000.tiff", xyz, photometric="rgb")
        Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / "rgb/000.png")
        mask = np.zeros((64, 64), np.uint8)
        mask[30:34, 30:34] = 255 * (place == "test/dent")
        Image.fromarray(mask).save(folder / "gt/000.png")
    return tmp_path / "download"


def test_version_is_the_packages(run):
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"fsad {version('fsad')}\n")


@pytest.mark.parametrize(
    ("words", "example"),
    [
        ([], "fsad report outputs/DATE/TIME"),
        (["data"], "fsad data check data/mvtec3d"),
        (["data", "prepare"], "fsad data prepare downloads/mvtec_3d data/mvtec3d"),
        (["data", "check"], "fsad data check data/mvtec3d"),
        (["data", "audit"], "fsad data audit data/mvtec3d"),
        (["predict"], "fsad predict outputs/RUN new_parts --out checked"),
        (["export"], "fsad export outputs/RUN -o bolt.onnx"),
        (["table"], "fsad table outputs multirun --out tables"),
        (["report"], "fsad report outputs/DATE/TIME"),
        (["pretrain"], "fsad pretrain resnet18.safetensors --out pretrained"),
    ],
    ids=lambda value: " ".join(value) or "fsad" if isinstance(value, list) else "",
)
def test_help_has_an_example(run, words, example):
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert example in result.stdout


def commands(group=None, *above):
    """Yield the words of every command there is."""
    group = group or get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *above, name)
        else:
            yield [*above, name]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_commands_help_is_short_and_ends_in_an_example(run, words):
    shown = run(*words, "--help").stdout
    assert len(shown.splitlines()) < 45
    assert "Example: fsad " + " ".join(words) in " ".join(shown.split())


def test_help_names_the_extra_that_export_needs(run):
    assert "fsad[export]" in run("export", "--help").stdout


def test_a_shell_is_told_how_to_complete_a_command():
    code = "import sys; sys.argv = ['fsad']; from fsad.cli import main; main()"
    asked = {"_FSAD_COMPLETE": "complete_bash", "COMP_WORDS": "fsad data ", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True
    )
    assert done.stdout.split() == ["prepare", "check", "audit"]


def test_help_does_not_load_torch():
    code = "import fsad.cli, sys; sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_prepare_then_check_then_prepare_again(run, source, tmp_path):
    copy = tmp_path / "copy"
    first = run("data", "prepare", source, copy)
    assert first.exit_code == 0
    assert f"{copy}: 3 samples written, 0 were there already" in first.stdout
    again = run("data", "prepare", source, copy)
    assert "0 samples written, 3 were there already" in again.stdout
    checked = run("data", "check", copy)
    assert checked.exit_code == 0
    assert "ball" in checked.stdout
    assert "64 × 64" in checked.stdout
    assert "no problems found" in checked.stdout


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([(64, 48)], "64 × 48"),
        ([(64, 48), (60, 48), (62, 40)], "60 × 48, 62 × 40, 64 × 48"),
        ([(64, 48), (60, 48), (62, 48), (61, 48)], "60-64 × 48 (4 sizes)"),
        ([(64, 48), (60, 40), (62, 48), (61, 48)], "60-64 × 40-48 (4 sizes)"),
    ],
)
def test_many_sizes_of_images_are_said_by_their_ranges(sizes, said):
    assert sizes_said(set(sizes)) == said


def test_prepare_ends_with_1_and_names_what_failed(run, source, tmp_path):
    path = source / "ball/train/good/xyz/000.tiff"
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.float32), photometric="rgb")
    result = run("data", "prepare", source, tmp_path / "copy")
    assert result.exit_code == 1
    assert (
        f"error: ball/train/good/000: {path}: expected at least one depth that is" in result.stderr
    )
    assert "error: 1 of 3 samples could not be prepared" in result.stderr
    assert (tmp_path / "copy/ball/test/good/xyz/000.tiff").exists()


def test_prepare_ends_with_1_and_names_a_category_whose_files_do_not_pair_up(run, source, tmp_path):
    shutil.copytree(source / "ball", source / "cube")
    (source / "cube/test/dent/rgb/000.png").unlink()
    result = run("data", "prepare", source, tmp_path / "copy")
    assert result.exit_code == 1
    assert "3 samples written" in result.stdout
    assert f"error: cube: {source}/cube/test/dent: expected rgb/*.png for every" in result.stderr
    assert "error: 1 of the categories could not be prepared" in result.stderr
    assert (tmp_path / "copy/ball/test/good/xyz/000.tiff").exists()


def test_prepare_passes_its_options_on(run, source, tmp_path):
    too_high = run("data", "prepare", source, tmp_path / "a", "--threshold", "0.5")
    assert too_high.exit_code == 1
    assert "a part more than 0.5 above the ground" in too_high.stderr
    unknown = run("data", "prepare", source, tmp_path / "b", "--category", "bagel")
    assert "error: --category: expected one of ball, got 'bagel'" in unknown.stderr
    background = run("data", "prepare", source, tmp_path / "c", "--rgb-background", "blue")
    assert "error: --rgb-background: expected keep or zero, got 'blue'" in background.stderr


def test_check_ends_with_1_and_lists_every_problem(run, source):
    (source / "ball/train/good/xyz/000.tiff").unlink()
    (source / "ball/train/good/rgb/000.png").write_bytes(b"no image")
    (source / "ball/test/dent/gt/000.png").unlink()
    result = run("data", "check", source)
    assert result.exit_code == 1
    assert "- ball/train/good: expected xyz/*.tiff for every image, got 0 of 1" in result.stdout
    assert "rgb/000.png: expected a readable png" in result.stdout
    assert "note: ball/test/dent: expected gt/*.png for every image, got 0 of 1" in result.stdout
    assert "2 problems found" in result.stdout


def test_a_mistake_is_one_line_without_a_traceback(run, tmp_path):
    result = run("data", "check", tmp_path, "--format", "mvtec3d")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {tmp_path}: expected <category>/train/good/")
    assert result.stderr.count("\n") == 1


@pytest.fixture
def logging_as_before():
    """Take back what a command that logs does to the loggers."""
    root, ours = logging.getLogger(), logging.getLogger("fsad")
    handlers, level = root.handlers[:], ours.level
    yield
    root.handlers[:] = handlers
    ours.setLevel(level)


@pytest.mark.usefixtures("logging_as_before")
def test_pretraining_without_a_teacher_is_one_line_and_leaves_no_weights(run, tmp_path):
    result = run("pretrain", tmp_path / "gone.pth", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: teacher: expected a file of ResNet-18")
    assert result.stderr.count("\n") == 1
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_debug_shows_the_traceback(run, tmp_path):
    result = run("--debug", "data", "check", tmp_path)
    assert isinstance(result.exception, DataError)


def test_a_mistake_of_the_program_is_one_line_too_and_debug_shows_where(run, tmp_path, monkeypatch):
    monkeypatch.setattr("fsad.data.inspect.check.check", lambda *_: 1 / 0)
    result = run("data", "check", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        "error: fsad: expected no error here, got ZeroDivisionError: division by zero. "
        "This is a bug in fsad; put --debug after fsad to see where.\n"
    )
    assert isinstance(run("--debug", "data", "check", tmp_path).exception, ZeroDivisionError)


def test_a_mistake_of_the_program_without_a_message_is_named_by_its_class(
    run, tmp_path, monkeypatch
):
    def fail(*_):
        raise NotImplementedError

    monkeypatch.setattr("fsad.data.inspect.check.check", fail)
    assert "got NotImplementedError. This" in run("data", "check", tmp_path).stderr


def test_a_reader_that_leaves_is_no_mistake(run, tmp_path, monkeypatch):
    def leave(*_):
        raise BrokenPipeError

    monkeypatch.setattr("fsad.data.inspect.check.check", leave)
    assert "mistake" not in run("data", "check", tmp_path).stderr


def test_a_wrong_command_line_ends_with_2(run):
    assert run("data", "prepare").exit_code == 2
    assert run("data", "destroy").exit_code == 2


def test_table_without_results_is_a_mistake(run, tmp_path):
    result = run("table", tmp_path)
    assert result.exit_code == 1
    assert "expected a result.json below, got none" in result.stderr


def broken_result(folder):
    folder.mkdir()
    (folder / "result.json").write_text("{")
    return folder / "result.json"


def test_table_of_results_that_cannot_be_read_is_one_line_and_ends_with_1(
    run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    file = broken_result(tmp_path / "a")
    broken_result(tmp_path / "b")
    result = run("table", tmp_path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {file}: expected JSON")
    assert result.stderr.endswith("(and 1 more)\n")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "table.md").exists()
    one = run("table", tmp_path / "a")
    assert one.exit_code == 1
    assert "more)" not in one.stderr


def test_table_writes_into_the_current_folder_unless_told_otherwise(run, tmp_path, monkeypatch):
    job = tmp_path / "runs" / "0"
    job.mkdir(parents=True)
    (job / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = run("table", tmp_path / "runs")
    assert result.exit_code == 0
    assert "wrote table.md\nwrote table.csv\n" in result.stdout
    written = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert written == ["table.csv", "table.md"]
    assert "missing: 0" in (tmp_path / "here" / "table.md").read_text()


def test_table_writes_where_it_is_asked_to(run, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("fsad.results.table.collect", lambda paths: Runs(missing=[*paths]))
    monkeypatch.setattr("fsad.results.table.print_table", seen.append)
    monkeypatch.setattr("fsad.results.table.write_table", lambda folder, _: (folder / "table.md",))
    result = run("table", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "tables")
    assert result.exit_code == 0
    assert seen == [Runs(missing=[tmp_path / "a", tmp_path / "b"])]
    assert f"wrote {tmp_path / 'tables' / 'table.md'}" in result.stdout


def test_main_is_the_console_script(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fsad", "--version"])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 0
    assert capsys.readouterr().out.startswith("fsad ")


def test_a_report_says_at_once_what_it_cannot_use(run, tmp_path):
    result = run("report", tmp_path, "--data-root", tmp_path / "gone")
    assert result.exit_code == 1
    assert "error: --data-root: expected the data set's folder, got" in result.output
    result = run("report", tmp_path, "--out", tmp_path)
    assert result.exit_code == 1
    assert "error: --out: expected the name of a file, got the folder" in result.output
