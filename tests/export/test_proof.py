"""An exported file is read back, and not kept unless it says what the run does."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from typer.testing import CliRunner

from fsad.cli import app
from fsad.engine.trained import load_trained
from fsad.errors import RunError
from fsad.export.from_run import export_run
from fsad.export.module import traced
from fsad.export.proof import compared, made_images, proving_images
from fsad.predict.scorer import Limits, Scored

REFUSED = "export: expected a file that scores and decides as the run does, got"


def scored(score, maps=1.0, source=None):
    column = np.array([score], np.float32)
    parts = {"target": column} | ({} if source is None else {"source": column * 0 + source})
    return Scored(column, parts, np.full((1, 4, 4), maps))


def test_what_rounding_makes_of_a_score_and_a_map_is_no_difference():
    run = [scored(3.0), scored(1e-7)]  # a shot is in the bank
    proof = compared(run, [scored(3.0002, 1.0005), scored(3e-5)], Limits(3.5), "export")
    assert (proof.images, proof.made) == (2, "")
    assert proof.score == pytest.approx(2e-4 / 3.0, rel=0.1)  # the target's score, of itself
    assert proof.map == pytest.approx(5e-4)
    assert str(proof).startswith("as the run does on 2 of its images: scores within ")


@pytest.mark.parametrize(
    ("run", "file", "why"),
    [
        (scored(3.0), scored(3.001), r"'score' 3\.001 for 3"),
        (scored(3.0), scored(float("nan")), "'score' nan for 3"),
        (scored(3.0, source=1.0), scored(3.0, source=1.01), r"'source' 1\.01 for 1"),
        (scored(3.0, source=1.0), scored(3.0), "0 scores 'source' for 1"),
        (scored(3.49999), scored(3.50001), r"another decision by the threshold 3\.5"),
        (scored(3.0), scored(3.0, 1.002), r"a map that is 0\.002 off, with values up to 1"),
        (
            scored(3.0, 0.1),
            scored(3.0, 0.1002),
            r"a map that is 0\.0002 off, with values up to 0\.1",
        ),
        (scored(3.0), scored(3.0, float("nan")), "a map that is nan off"),
    ],
)
def test_a_score_a_map_or_a_decision_that_differs_is_refused(run, file, why):
    with pytest.raises(RunError, match=rf"^{REFUSED} {why}.*\. It is not written; predict with"):
        compared([run], [file], Limits(3.5), "export")


def test_of_large_maps_float32_has_no_more_digits():
    compared([scored(3.0, 300.0)], [scored(3.0, 300.02)], Limits(), "export")
    with pytest.raises(RunError, match=r"a map that is 0\.04.* off"):
        compared([scored(3.0, 300.0)], [scored(3.0, 300.04)], Limits(), "export")


def test_images_of_the_run_are_its_shots_and_some_of_its_test_images(run_of):
    trained = load_trained(run_of("raw"))
    data = instantiate(trained.config.data, _convert_="all").for_category("tile")
    loaders = data.loader("shots"), data.test_dataloader()
    shots, test = (torch.cat([it.image for it in loader]).numpy() for loader in loaders)
    images, made = proving_images(trained)
    assert (len(shots), len(test), made) == (2, 6, "")
    wanted = [*shots[:, :1], *test[[0, 2, 3, 5], :1]]
    assert sorted(it.tobytes() for it in images) == sorted(it.tobytes() for it in wanted)


def moved_away(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    result = json.loads((folder / "result.json").read_text())
    result["config"]["data"]["root"] = str(tmp_path / "gone")
    (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_the_command_says_how_the_file_compares_and_needs_no_data(run_of, tmp_path, kind):
    for name, run in (("here", run_of("raw")), ("away", moved_away(run_of("raw"), tmp_path))):
        path = tmp_path / name / f"model.{kind}"
        words = ["export", str(run), "--format", kind, "-o", str(path)]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        said = " ".join(done.output.split())
        if name == "here":
            assert "it scores as the run does on 6 of its images: scores within" in said
        else:
            assert "on 4 generated images instead of the run's own (" in said
            assert "expected the data set of the run, got no such folder" in said
        assert list(path.parent.iterdir()) == [path]


def test_made_images_are_the_same_every_time():
    images = made_images(64, 1)
    assert np.array_equal(images, made_images(64, 1))
    assert images.min() >= 0.1
    assert images.max() <= 0.9 + 1e-6


def of_another_sigma(trained):
    """Record the graph of a run that blurs its maps otherwise."""
    return traced(replace(trained, maker=replace(trained.maker, sigma=0.5)))


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_file_that_disagrees_is_not_written_and_the_old_one_stays(
    run_of, tmp_path, monkeypatch, kind
):
    monkeypatch.setattr("fsad.export.from_run.traced", of_another_sigma)
    path = tmp_path / f"model.{kind}"
    path.write_bytes(b"whole")
    with pytest.raises(RunError, match=f"^{REFUSED} a map that is "):
        export_run(run_of("raw"), path=path, format=kind)
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]
