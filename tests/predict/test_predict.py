"""Predictions from files, arrays and the command line."""

import csv
import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from omegaconf import OmegaConf
from PIL import Image
from typer.testing import CliRunner

import fsad
from fsad.cli import app
from fsad.data.depth_file import SUFFIXES
from fsad.data.eyecandies import Eyecandies
from fsad.data.input import DepthInput
from fsad.data.sample import Sample
from fsad.errors import (
    ConfigError,
    DataError,
    MissingDataError,
    NonFiniteError,
    OutputError,
    RunError,
)
from fsad.predict.images import state_of, time_of
from fsad.predict.loop import Summary, predict_files
from fsad.predict.outputs import Outputs, base_of
from fsad.predict.pictures import MapScale
from fsad.predict.predictor import Predictor
from fsad.predict.scorer import Limits, Scored
from fsad.predict.watch import arriving

SIZE = 16


class Brightest:
    """Scores an image by its largest depth, and a pixel by its own; needs no torch."""

    image_size = SIZE

    def score(self, images):
        maps = images[:, 0]
        return Scored(maps.max(axis=(1, 2)), {"target": maps.max(axis=(1, 2))}, maps)


@pytest.fixture
def predictor():
    return Predictor(Brightest(), Limits(0.5, 0.8, 1 / 3, "as told"), DepthInput(SIZE))


class Without:
    """Scores like another, but for one value that is no number."""

    image_size = SIZE

    def __init__(self, name, value):
        self.name, self.value = name, value

    def score(self, images):
        scored = Brightest().score(images.copy())
        values = {"score": scored.score, "maps": scored.maps, **scored.parts}
        values[self.name].flat[-1] = self.value
        return scored.checked()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("name", "said"), [("score", "score"), ("target", "score_target"), ("maps", "map")]
)
def test_no_image_is_good_by_a_score_or_a_map_that_is_no_number(z, name, said, value):
    predictor = Predictor(Without(name, value), Limits(0.5), DepthInput(SIZE))
    with pytest.raises(NonFiniteError, match=rf"^{said}: expected a finite number, got NaN or inf"):
        predictor.predict(z)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_threshold_above_which_nothing_lies_is_refused(value):
    with pytest.raises(ConfigError, match=rf"^threshold: expected a finite number, got {value}"):
        Limits(value)
    with pytest.raises(ConfigError, match=r"^map_threshold: expected a finite number, got"):
        Limits(1.0, value)


@pytest.fixture
def z():
    return np.random.default_rng(0).uniform(0.4, 0.9, (30, 40)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, z):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        np.save(images / f"{number}.npy", z * (number + 1))
    return images


@pytest.fixture
def cli():
    def call(*words):
        return CliRunner().invoke(app, ["predict", *map(str, words)])

    return call


def rows_in(folder):
    return list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))


def test_a_score_above_the_threshold_is_defective_and_one_at_it_is_not(z):
    above = Predictor(Brightest(), Limits(0.5), DepthInput(SIZE)).predict(z)
    assert (above.decision, above.threshold) == ("defective", 0.5)
    at = Predictor(Brightest(), Limits(above.score), DepthInput(SIZE)).predict(z)
    assert at.decision == "good"
    assert Predictor(Brightest(), Limits(), DepthInput(SIZE)).predict(z).decision is None


def test_the_map_has_the_inputs_size_and_no_value_that_was_not_measured(predictor, z):
    found = predictor.predict(z)
    assert found.map.shape == z.shape
    assert found.map.dtype == np.float32
    assert found.map.min() >= found.seen.min() - 1e-6
    assert found.map.max() <= found.seen.max() + 1e-6
    square = predictor.predict(z[:SIZE, :SIZE])
    np.testing.assert_array_equal(square.map, square.seen[0])


def test_a_file_says_what_its_array_says_and_the_unit_is_any(predictor, z, tmp_path):
    points = np.stack([z, z, z], axis=-1)
    tifffile.imwrite(tmp_path / "a.tiff", points, photometric="rgb")
    from_file, from_array = predictor.predict(tmp_path / "a.tiff"), predictor.predict(z * 1000)
    assert from_file.path == tmp_path / "a.tiff"
    assert from_array.path is None
    np.testing.assert_allclose(from_file.map, from_array.map, atol=1e-6)


def test_a_model_of_prepared_images_prepares_points_and_refuses_depth_alone(z):
    y, x = np.mgrid[:60, :60].astype(np.float32)
    ground = np.ones((60, 60), np.float32)
    ground[20:40, 20:40] = 0.9
    xyz = np.stack([(x - 30) / 60 * ground, (y - 30) / 60 * ground, ground], axis=-1)
    predictor = Predictor(Brightest(), Limits(), DepthInput(SIZE, part_above=0.05))
    (seen,) = predictor.predict(xyz).seen
    assert (seen[0] == 0).all()  # the ground is gone
    assert seen[SIZE // 2, SIZE // 2] > 0
    with pytest.raises(DataError, match=r"image: expected points \(H, W, 3\), got depth alone"):
        predictor.predict(z)
    with pytest.raises(DataError, match=r"image: expected a part more than 0\.05 above"):
        predictor.predict(np.stack([xyz[..., 0], xyz[..., 1], np.ones_like(x)], axis=-1))


def test_a_png_of_the_map_gives_the_map_back(predictor, z):
    found = predictor.predict(z)
    scale = MapScale.of(found)
    about = scale.to_json()
    numbers = scale.encode(found.map)
    assert numbers.dtype == np.uint16
    back = about["reference"] * (numbers / about["zero"] - 1)
    np.testing.assert_allclose(back, found.map, atol=about["reference"] / 2**14 + 1e-7)
    far = np.array([[-9e9, 9e9]], np.float32)
    assert scale.encode(far).tolist() == [[0, 65535]]


def test_all_is_written_beside_each_other_and_a_bad_file_is_skipped(predictor, folder, tmp_path):
    (folder / "bad.npy").write_text("x")
    files = sorted(folder.iterdir())
    said = []
    outputs = Outputs(tmp_path / "out", base_of(files))
    summary = predict_files(predictor, files, outputs, said.append)
    assert len(summary.seconds) == 3
    assert summary.failed == said
    assert "bad.npy: expected a .npy file" in said[0]
    rows = rows_in(tmp_path / "out")
    assert [row["path"] for row in rows] == [str(folder / f"{i}.npy") for i in range(3)]
    assert {row["decision"] for row in rows} == {"defective"}
    assert {row["score_source"] for row in rows} == {""}
    with Image.open(tmp_path / "out" / "maps" / "0.npy.png") as picture:
        assert picture.mode.startswith("I")  # 16 bits; older Pillow says I
    with Image.open(tmp_path / "out" / "overlays" / "0.npy.png") as picture:
        assert picture.size == (40, 30)
    outline = json.loads((tmp_path / "out" / "outlines" / "0.npy.json").read_text())
    assert (outline["height"], outline["width"], outline["map_threshold"]) == (30, 40, 0.8)
    assert all(len(each["points"]) > 2 for each in outline["outlines"])
    assert summary.lines()[0] == "3 images predicted, 3 defective; 1 could not be read"
    assert summary.lines()[1].startswith("latency ")


def test_images_of_one_name_in_two_folders_do_not_overwrite_each_other(predictor, z, tmp_path):
    files = [tmp_path / name / "xyz" / "000.npy" for name in ("good", "bent")]
    for path in files:
        path.parent.mkdir(parents=True)
        np.save(path, z)
    outputs = Outputs(tmp_path / "out", base_of(files))
    predict_files(predictor, files, outputs, print)
    for name in ("good", "bent"):
        assert (tmp_path / "out" / "maps" / name / "xyz" / "000.npy.png").exists()


def test_pictures_stay_in_the_output_folder_however_a_path_is_spelt(
    predictor, z, tmp_path, monkeypatch
):
    for name in ("good", "here"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "0.npy", z)
    monkeypatch.chdir(tmp_path / "here")
    files = [Path("../good/0.npy"), Path("0.npy")]
    predict_files(predictor, files, Outputs(tmp_path / "out", base_of(files)), print)
    for kind in ("maps", "overlays"):
        for name in ("good", "here"):
            assert (tmp_path / "out" / kind / name / "0.npy.png").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"good", "here", "out"}


def test_maps_gone_on_with_keep_their_scale(z, folder, tmp_path):
    predictor = Predictor(Brightest(), Limits(None, None, None, "no threshold"), DepthInput(SIZE))
    files = sorted(folder.iterdir())
    predict_files(predictor, files[:1], Outputs(tmp_path / "out", folder), print)
    scale = (tmp_path / "out" / "map_scale.json").read_text()
    np.save(files[1], 1 - z)  # another highest value
    goes_on = Outputs(tmp_path / "out", folder, go_on=True)
    predict_files(predictor, files[1:], goes_on, print)
    assert (tmp_path / "out" / "map_scale.json").read_text() == scale
    (tmp_path / "out" / "map_scale.json").write_text("{")
    with pytest.raises(DataError, match=r"map_scale\.json: expected the scale of the maps"):
        predict_files(predictor, files, Outputs(tmp_path / "out", folder, go_on=True), print)


def test_a_folder_with_predictions_is_not_overwritten_unless_gone_on_with(tmp_path, folder):
    Outputs(tmp_path / "out", folder)
    with pytest.raises(RunError, match="--out: expected a folder without predictions, got"):
        Outputs(tmp_path / "out", folder)
    assert Outputs(tmp_path / "out", folder, go_on=True).done == {}
    (tmp_path / "out" / "predictions.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="expected predictions to go on with"):
        Outputs(tmp_path / "out", folder, go_on=True)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, folder):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="--out: expected a folder that can be written"):
        Outputs(tmp_path / "file", folder)
    (tmp_path / "out" / "predictions.csv").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be read"):
        Outputs(tmp_path / "out", folder, go_on=True)


def test_a_watched_folders_images_come_once_and_only_when_they_stopped_growing(tmp_path, z):
    growing = tmp_path / "growing.npy"
    np.save(tmp_path / "whole.npy", z)
    stop = threading.Event()

    def grow():
        with growing.open("wb") as file:
            while not stop.is_set():
                file.write(b"x" * 10)
                file.flush()
                time.sleep(0.001)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        images = arriving(tmp_path, {}, SUFFIXES, pause=0.05)
        assert next(images).name == "whole.npy"
    finally:
        stop.set()
        writer.join()
    assert next(images).name == "growing.npy"
    np.save(tmp_path / "later.npy", z)
    assert next(images).name == "later.npy"
    np.save(growing, z)  # written anew: it comes again
    assert next(images).name == "growing.npy"


def test_a_watch_goes_on_where_it_was_and_needs_a_folder(tmp_path, folder):
    done = {str(folder / "0.npy"): time_of(state_of(folder / "0.npy"))}
    images = arriving(folder, done, SUFFIXES, pause=0.001)
    assert [next(images).name for _ in range(2)] == ["1.npy", "2.npy"]
    with pytest.raises(MissingDataError, match="--watch: expected a folder, got"):
        next(arriving(tmp_path / "gone", {}, SUFFIXES))
    with pytest.raises(MissingDataError, match="--watch: expected a folder, got"):
        next(arriving(folder / "0.npy", {}, SUFFIXES))


def test_nothing_predicted_has_no_latency():
    assert Summary().lines() == ["0 images predicted"]


def test_the_command_predicts_a_runs_test_images_as_the_run_did(finished, cli, tmp_path):
    config = OmegaConf.load(finished / "config.yaml")
    rows = list(csv.DictReader((finished / "scores.csv").read_text().splitlines()))
    (data,) = (path for path in _roots(config) if (path / rows[0]["image"]).exists())
    good = data / "tile" / "test" / "good" / "xyz"
    result = cli(finished, good, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "expect about 1 in 3 good parts" in result.stdout
    assert "2 images predicted" in result.stdout
    known = {row["image"]: float(row["score"]) for row in rows}
    for row in rows_in(tmp_path / "out"):
        place = row["path"].removeprefix(f"{data}/")
        assert float(row["score"]) == pytest.approx(known[place], rel=1e-6)


def _roots(config):
    root = OmegaConf.to_container(config, resolve=True)["data"]["root"]
    return [path for path in [Path(root), *Path(root).iterdir()] if path.is_dir()]


def test_a_threshold_as_given_decides_and_a_bad_file_ends_with_1(finished, cli, folder, tmp_path):
    (folder / "bad.png").write_text("no image")
    words = (finished, folder, "--threshold", "0", "--no-maps")
    result = cli(*words, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "threshold 0, as given; its false-alarm rate is unknown" in result.stdout
    (error,) = (line for line in result.stderr.splitlines() if not line.startswith("note: "))
    assert error.startswith(f"error: {folder / 'bad.png'}: expected a readable png")
    assert {row["decision"] for row in rows_in(tmp_path / "out")} == {"defective"}
    assert not (tmp_path / "out" / "maps").exists()


def test_a_map_threshold_as_given_outlines(finished, cli, folder, tmp_path):
    result = cli(finished, folder / "0.npy", "--map-threshold", "-1", "--out", tmp_path / "out")
    assert result.exit_code == 0
    found = json.loads((tmp_path / "out" / "outlines" / "0.npy.json").read_text())
    assert found["map_threshold"] == -1
    assert found["outlines"]


def test_without_images_or_a_run_it_is_one_line(finished, cli, folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for words, message in (
        ((finished, empty), f"error: {empty}: expected xyz .tiff"),
        ((tmp_path / "gone", folder), "error: run: expected a run's folder with config.yaml"),
        ((finished, folder, "--threshold", "nan"), "error: --threshold: expected a finite number"),
        ((finished, folder / "0.npy", "--watch"), "error: --watch: expected one folder, got"),
    ):
        result = cli(*words, "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert result.stderr.startswith(message)
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_watching_stops_with_ctrl_c_and_keeps_what_was_written(
    finished, cli, folder, tmp_path, monkeypatch
):
    def three(folder, done, suffixes):
        yield from (path for path in sorted(folder.iterdir()) if str(path) not in done)
        assert ".npy" in suffixes
        raise KeyboardInterrupt

    monkeypatch.setattr("fsad.predict.watch.arriving", three)
    words = (finished, folder, "--watch", "--no-maps", "--out", tmp_path / "out")
    result = cli(*words)
    assert result.exit_code == 0
    assert "3 images predicted" in result.stdout
    assert len(rows_in(tmp_path / "out")) == 3
    assert "0 images predicted" in cli(*words).stdout  # they are done


def test_a_run_of_an_earlier_version_gives_scores_alone(finished, tmp_path, z):
    copy = shutil.copytree(finished, tmp_path / "run")
    (copy / "categories" / "tile" / "threshold.json").unlink()
    predictor = fsad.load(copy)
    assert "the run has none" in predictor.limits.note
    found = predictor.predict(z)
    assert found.decision is None
    assert found.outlines() == []


def test_a_run_of_eyecandies_reads_a_png_as_its_training_images_were_read(finished, tmp_path, z):
    copy = shutil.copytree(finished, tmp_path / "run")
    config = OmegaConf.load(copy / "config.yaml")
    config.data.reader = {"_target_": "fsad.data.eyecandies.Eyecandies", "_partial_": True}
    OmegaConf.save(config, copy / "config.yaml")
    share = (z - z.min()) / (z.max() - z.min())
    depth, about = tmp_path / "000_depth.png", tmp_path / "000_info_depth.yaml"
    Image.fromarray((share * 65535).round().astype(np.uint16)).save(depth)
    about.write_text("normalization: {min: 2.5, max: 4.0}")
    sample = Sample("tile", "test", "good", "000", {"depth": depth})
    trained_on = Eyecandies(tmp_path).read(sample, "depth")
    assert (trained_on > 0).all()  # the nearest pixel, 0 in the png, is no hole
    with_holes, without = fsad.load(finished), fsad.load(copy)
    known, found = with_holes.predict(trained_on), without.predict(depth)
    np.testing.assert_allclose(found.seen, known.seen, atol=1e-6)
    assert found.score == pytest.approx(known.score, rel=1e-4)
    assert np.abs(with_holes.predict(depth).seen - known.seen).max() > 1e-3


def test_a_run_remembers_how_its_images_were_prepared(finished, tmp_path):
    assert fsad.load(finished).input.part_above is None
    copy = shutil.copytree(finished, tmp_path / "run")
    path = copy / "categories" / "tile" / "category.json"
    record = json.loads(path.read_text())
    assert record["prepared"] == {}
    del record["digest"]  # as an earlier version wrote it
    path.write_text(json.dumps(record | {"prepared": {"threshold": 0.004}}))
    assert fsad.load(copy, "tile").input.part_above == 0.004
    for wrong in ({"prepared": {"threshold": "4 mm"}}, {"prepared": {"by": 1}}, {"sigma": "wide"}):
        path.write_text(json.dumps(record | wrong))
        with pytest.raises(
            DataError, match=r"category\.json: expected a finished category's result"
        ):
            fsad.load(copy)
    path.write_text(json.dumps(record | {"prepared": {"threshold": None}}))
    with pytest.raises(DataError, match=r"expected fsad_prepared\.json beside prepared images"):
        fsad.load(copy)
    path.write_text("{")
    with pytest.raises(DataError, match=r"category\.json: expected a finished category's result"):
        fsad.load(copy)
