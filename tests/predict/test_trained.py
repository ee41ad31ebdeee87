"""A finished run, read back without its dataset, scores as it did."""

import csv
import io
import os
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from fsad.engine.trained import load_trained
from fsad.errors import ConfigError, DataError, MissingDataError, RunError, WeightsError
from fsad.predict.from_run import load_run
from fsad.scores.combination import MapMaker, two_domains
from fsad.scores.score_set import from_tensors
from fsad.storage.tensors import read_tensors

CATEGORY = "categories/tile"


def images_tested_by(folder):
    config = OmegaConf.load(folder / "config.yaml")
    data = instantiate(config.data, _convert_="all").for_category("tile")
    return torch.cat([batch.image for batch in data.test_dataloader()])


def rows_of(folder):
    return list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of a finished run, to be spoiled."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize("method", ["hypertrans", "anomalydino", "ast", "raw", "source_bank"])
def test_the_runs_test_images_get_the_scores_and_maps_that_they_had(run_of, method):
    folder = run_of(method)
    images, trained = images_tested_by(folder), load_trained(folder)
    scores = trained.score(images)
    fused, maps = trained.combined(scores)
    rows = rows_of(folder)
    assert fused.tolist() == pytest.approx([float(row["score"]) for row in rows], rel=1e-6)
    for domain in ("source", "target"):
        known = [float(row[f"score_{domain}"]) for row in rows if row[f"score_{domain}"]]
        assert (domain in scores) == bool(known)
        if known:
            assert scores[domain].images.tolist() == pytest.approx(known, rel=1e-6)
    stored = from_tensors(read_tensors(folder / CATEGORY / "patch_scores.safetensors")[0])
    maker = MapMaker(64, trained.sigma, trained.combination)
    _, theirs = trained.combined(stored)
    torch.testing.assert_close(maps, theirs, rtol=1e-6, atol=1e-6)
    assert maps.shape == (len(rows), maker.size, maker.size)


def test_an_images_score_does_not_depend_on_the_others(finished):
    images, trained = images_tested_by(finished)[:3], load_trained(finished)
    together, _ = trained.combined(trained.score(images))
    alone = [trained.combined(trained.score(image[None]))[0] for image in images]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-6, atol=1e-6)


def test_it_says_what_the_run_was(finished):
    trained = load_trained(finished)
    config = OmegaConf.load(finished / "config.yaml")
    assert (trained.category, trained.method, trained.image_size) == ("tile", "hypertrans", 64)
    assert trained.combination == two_domains(config.method.beta)
    assert trained.sigma == config.method.sigma
    assert not trained.scorer.training


def test_the_dataset_may_be_gone_and_the_folder_elsewhere(copy):
    config = OmegaConf.load(copy / "config.yaml")
    config.data.root = config.paths.cache_dir = "/no/such/folder"
    OmegaConf.save(config, copy / "config.yaml")
    assert load_trained(copy).category == "tile"


def test_a_run_that_tested_another_has_its_banks_there(finished, run, tmp_path):
    again = run(tmp_path / "again", f"ckpt={finished}", "method.beta=0.1", "maps=false")
    trained = load_trained(again)
    assert trained.combination == two_domains(0.1)
    assert trained.folder == again / CATEGORY
    fused, _ = trained.combined(trained.score(images_tested_by(finished)))
    known = [float(row["score"]) for row in rows_of(again)]
    assert fused.tolist() == pytest.approx(known, rel=1e-6)


def test_a_control_cannot_predict_and_says_so(run_of):
    with pytest.raises(RunError, match="expected one that scores an image by itself, got part_m"):
        load_trained(run_of("part_mask"))


class Bomb:
    """A pickle of it creates a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["banks", "perturb", "rectify"])
@pytest.mark.parametrize("save", [pickle.dump, torch.save])
def test_a_pickle_in_a_runs_folder_is_refused_and_not_executed(copy, tmp_path, name, save):
    path, proof = copy / CATEGORY / f"{name}.safetensors", tmp_path / "executed"
    with path.open("wb") as file:
        save(Bomb(proof), file)
    with pytest.raises(DataError, match=rf"{name}\.safetensors: expected .* cannot be read"):
        load_trained(copy)
    assert not proof.exists()
    whole = io.BytesIO(path.read_bytes())
    torch.load(whole, weights_only=False) if save is torch.save else pickle.load(whole)
    assert proof.exists()  # so the test could have failed


@pytest.mark.parametrize("name", ["banks", "perturb", "rectify"])
def test_a_missing_file_is_named(copy, name):
    (copy / CATEGORY / f"{name}.safetensors").unlink()
    with pytest.raises(MissingDataError, match=rf"{name}\.safetensors: expected a file of a fin"):
        load_trained(copy)


def test_a_folder_without_a_run_or_without_a_finished_category_is_refused(copy, tmp_path):
    said = r"run: expected a run's folder with config\.yaml, got .*gone'\. Name the folder that"
    with pytest.raises(MissingDataError, match=said):
        load_trained(tmp_path / "gone")
    (copy / CATEGORY / "category.json").unlink()
    with pytest.raises(MissingDataError, match=r"a finished category, got none\. Finish it with"):
        load_trained(copy)


def test_an_interrupted_run_is_refused_before_its_weights_with_how_to_finish_it(copy, tmp_path):
    how = re.escape(f"Finish it with: python train.py resume={copy}")
    shutil.copytree(copy / CATEGORY, copy / "categories" / "knob")
    (copy / "categories/knob/category.json").unlink()
    with pytest.raises(MissingDataError, match=rf"of tile, got 'knob', which is not fin.*\. {how}"):
        load_trained(copy, "knob")
    (copy / "result.json").unlink()
    with pytest.raises(MissingDataError, match=rf"got one without result\.json\. {how}"):
        load_trained(copy, "tile", weights_path=tmp_path / "none.pth")


def test_a_test_of_a_run_that_has_moved_says_which(run, copy, tmp_path):
    again = run(tmp_path / "again", f"ckpt={copy}", "maps=false")
    assert load_trained(again).category == "tile"
    copy.rename(tmp_path / "moved")
    said = rf"expected the run that '.*again' tested again, at '{copy}', got .*ckpt=RUN_DIR"
    with pytest.raises(MissingDataError, match=said):
        load_trained(again)


def test_one_of_several_categories_has_to_be_chosen(copy):
    shutil.copytree(copy / CATEGORY, copy / "categories" / "knob")
    with pytest.raises(ConfigError, match=r"one of knob, tile, got none\. Pass one: --category"):
        load_trained(copy)
    with pytest.raises(ConfigError, match=r"^category: expected one of knob, tile, got 'bolt'"):
        load_trained(copy, "bolt")
    assert load_trained(copy, "knob").category == "knob"


def test_another_backbone_is_refused(copy):
    config = OmegaConf.load(copy / "config.yaml")
    config.seed = 1
    config.backbone.seed = 1  # other random weights
    OmegaConf.save(config, copy / "config.yaml")
    with pytest.raises(RunError, match="backbone: expected the run's own, sha256"):
        load_trained(copy)


def test_weights_that_moved_can_be_named(copy, tmp_path):
    from safetensors.torch import save_file

    weights = tmp_path / "weights.safetensors"
    net = load_trained(copy).extractor.net
    save_file({name: value.clone() for name, value in net.state_dict().items()}, weights)
    config = OmegaConf.load(copy / "config.yaml")
    config.backbone.weights_path = "/no/such/file.safetensors"
    OmegaConf.save(config, copy / "config.yaml")
    with pytest.raises(WeightsError, match=r"expected a file, got none there.*--weights-path"):
        load_trained(copy)
    assert load_trained(copy, weights_path=weights).category == "tile"


@pytest.mark.parametrize(
    ("group", "node", "message"),
    [
        ("method", {"_target_": "os.mkdir", "path": "PROOF"}, "expected a method at"),
        (
            "method",
            {"_target_": "no.such.thing"},
            "expected a method that can be imported at 'method'",
        ),
        ("backbone", {"_target_": "os.mkdir", "path": "PROOF"}, "expected a backbone at"),
        ("backbone", {"name": "tiny"}, "expected a backbone at 'backbone', got something else"),
        (
            "method",
            {
                "_target_": "fsad.methods.raw.Raw",
                "sigma": {"_target_": "os.mkdir", "path": "PROOF"},
            },
            "expected a method at 'method', got something else",
        ),
    ],
)
def test_a_configuration_that_calls_something_else_is_refused(copy, tmp_path, group, node, message):
    proof = tmp_path / "executed"
    text = OmegaConf.to_yaml(OmegaConf.create(node)).replace("PROOF", str(proof))
    config = OmegaConf.load(copy / "config.yaml")
    config[group] = OmegaConf.create(text)
    OmegaConf.save(config, copy / "config.yaml")
    with pytest.raises(DataError, match=rf"config\.yaml: {message}"):
        load_trained(copy)
    assert not proof.exists()


def test_a_setting_that_the_class_does_not_know_is_named(copy):
    config = OmegaConf.load(copy / "config.yaml")
    config.method.gamma = 1
    OmegaConf.save(config, copy / "config.yaml")
    with pytest.raises(DataError, match=r"expected settings that the class takes.*'gamma'"):
        load_trained(copy)


@pytest.mark.parametrize("device", ["tpu-that-is-not", "cuda:77", "meta"])
def test_a_device_that_is_not_there_is_refused(finished, device):
    with pytest.raises(ConfigError, match="device: expected cpu or a GPU such as cuda, got"):
        load_trained(finished, device=device)


def test_a_prediction_reads_the_record_of_its_category_once(run_of, monkeypatch):
    read, folder = [], run_of("raw")
    read_text = Path.read_text

    def watched(path, *args, **kwargs):
        read.append(path.name)
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", watched)
    load_run(folder)
    assert read.count("category.json") == 1
