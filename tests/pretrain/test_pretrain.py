"""Pretraining from start to finish, on a handful of small images."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from fsad.errors import ConfigError, RunError, WeightsError
from fsad.nn.backbone import VitExtractor
from fsad.nn.timm_networks import create_cnn
from fsad.pretrain.distil import Distillation
from fsad.pretrain.run import Images, Recipe, pretrain
from fsad.pretrain.student import ARCHITECTURE, STEM

RECIPE = Recipe(epochs=3, steps=2, small=0.5, image_size=64, batch_size=1, precision="32-true")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "resnet18.safetensors"
    save_file(create_cnn("resnet18.tv_in1k", 0).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def finished(teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    pretrain(teacher, folder, RECIPE, workers=0)
    return folder


def test_it_writes_weights_that_the_backbone_loads(finished):
    extractor = VitExtractor(
        "tiny",
        "vit_tiny_patch16_224",
        96,  # position embeddings are resampled
        [3],
        weights_path=str(finished / "tiny.safetensors"),
        stem=STEM,
        model_args=ARCHITECTURE,
    )
    assert extractor.weights == "file"
    assert extractor(torch.rand(1, 3, 96, 96)).shape == (1, 128, 12, 12)


def test_the_stem_is_the_teachers_and_stays_so(teacher, finished):
    theirs, stem = load_file(teacher), "patch_embed.backbone."
    ours = load_file(finished / "tiny.safetensors")
    copied = {name.removeprefix(stem): ours[name] for name in ours if name.startswith(stem)}
    assert {name.split(".")[0] for name in copied} == {"conv1", "bn1", "layer1", "layer2"}
    for name, value in copied.items():
        assert torch.equal(value, theirs[name].half()), name


def test_the_record_tells_the_recipe_the_curve_and_what_it_came_from(finished):
    record = json.loads((finished / "pretraining.json").read_text())
    assert record["recipe"]["epochs"] == 3
    assert len(record["curve"]) == 3
    assert set(record["curve"][0]) == {"regression", "relation", "pairs", "explained"}
    assert record["images"] == 4 * 2 * (4 + 4 + 1)
    assert len(record["teacher"]) == len(record["sha256"]) == 64
    assert not (finished / "pretraining.ckpt").exists()


def test_an_interrupted_one_goes_on_to_the_same_weights(teacher, finished, tmp_path, monkeypatch):
    step = Distillation.training_step

    def interrupted(self, batch):
        if self.current_epoch == 2:
            raise InterruptedError
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "training_step", interrupted)
        with pytest.raises(InterruptedError):
            pretrain(teacher, tmp_path, RECIPE, workers=0)
    assert (tmp_path / "pretraining.ckpt").exists()
    pretrain(teacher, tmp_path, RECIPE, workers=0)
    ours, theirs = (load_file(folder / "tiny.safetensors") for folder in (tmp_path, finished))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    curves = [
        json.loads((folder / "pretraining.json").read_text())["curve"]
        for folder in (tmp_path, finished)
    ]
    assert curves[0] == curves[1]


def test_a_finished_folder_is_refused(teacher, finished):
    with pytest.raises(RunError, match="out: expected a folder without weights"):
        pretrain(teacher, finished, RECIPE, workers=0)


def test_another_recipe_is_refused(teacher, finished, tmp_path):
    record = json.loads((finished / "pretraining.json").read_text())
    begun = {name: record[name] for name in ("recipe", "teacher")}
    (tmp_path / "pretraining.json").write_text(json.dumps(begun))
    with pytest.raises(RunError, match="out: expected the recipe it was begun with"):
        pretrain(teacher, tmp_path, replace(RECIPE, seed=1), workers=0)


def test_a_teacher_that_is_no_resnet_is_refused(tmp_path):
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"expected conv1\.weight of shape"):
        pretrain(tmp_path / "other.safetensors", tmp_path / "out", RECIPE)


def test_a_missing_teacher_is_named_with_where_to_fetch_it(tmp_path):
    with pytest.raises(
        WeightsError, match=r"teacher: expected a file .*, got none at '.*gone\.st'"
    ):
        pretrain(tmp_path / "gone.st", tmp_path / "out", RECIPE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs: expected a whole number of at least 1"),
        ({"precision": "8"}, "precision: expected one of"),
        ({"image_size": 40}, "image_size: expected a multiple of 32"),
        ({"small": 1.5}, "small: expected a number in"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(RECIPE, **change)


def test_no_image_is_seen_twice_and_small_ones_come_first():
    recipe = replace(RECIPE, epochs=4, steps=3, batch_size=2)

    class At:
        current_epoch = 0

    images, seen, sizes = Images(recipe, workers=0), [], []
    images.trainer = At()
    for epoch in range(recipe.epochs):
        At.current_epoch = epoch
        chosen = images.train_dataloader().dataset
        seen += chosen.indices
        sizes.append(chosen.dataset.size)
    assert sizes == [32, 32, 64, 64]
    assert seen == list(range(recipe.images // 4))
