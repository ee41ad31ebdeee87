"""An image is to a prediction what it was to training, whatever it shows."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fsad.data.depth_rules import DepthRules
from fsad.data.input import DepthInput, PhotographInput, channels_of, input_spec
from fsad.data.profile import InputProfile
from fsad.data.synthetic import Synthetic
from fsad.data.transforms import load_tensors
from fsad.errors import ConfigError, DataError

SIZE = 24


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return Synthetic(root, DepthRules(shrink="area"), size=48, n_train=2, categories=["tile"])


@pytest.mark.parametrize("modality", ["depth", "rgb"])
def test_a_prediction_sees_the_bits_that_training_saw(reader, modality):
    spec = input_spec(modality, SIZE, {"rules": {"shrink": "area"}})
    for sample in reader.samples("tile", "train"):
        path = sample.files[modality]
        seen = spec.see(spec.read(path), str(path))
        trained_on = load_tensors(reader, sample, SIZE, [modality])[modality]
        assert seen.pixels.shape == (channels_of(modality), SIZE, SIZE)
        assert torch.equal(torch.from_numpy(seen.pixels).expand(3, -1, -1), trained_on)
        assert (seen.size, seen.notes) == ((48, 48), ())


@pytest.mark.parametrize(
    "spec",
    [
        DepthInput(8, InputProfile(1.5, 0.2), DepthRules(unit="mm"), 0.01, png_holes=False),
        PhotographInput(8, InputProfile(1.5), "infrared"),
        PhotographInput(8),
    ],
)
def test_what_is_written_down_is_read_back(spec):
    record = json.loads(json.dumps(spec.to_json()))
    assert input_spec(spec.modality, spec.size, record) == spec


def test_a_record_of_before_anything_was_noted_is_of_depth_as_it_was_read_then():
    assert input_spec("depth", 8) == DepthInput(8, None, DepthRules(), None, png_holes=True)


def test_grey_is_three_equal_channels_and_colours_keep_their_order():
    spec = PhotographInput(4)
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    np.testing.assert_array_equal(
        spec.see(grey, "a").pixels, np.stack([grey] * 3) / np.float32(255)
    )
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert spec.see(red, "a").pixels.mean(axis=(1, 2)).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (np.zeros((4, 4, 3), np.float32), r"\(4, 4, 3\) of float32"),
        (np.zeros((4, 4), np.uint16), r"\(4, 4\) of uint16"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\) of uint8"),
        (np.zeros((0, 4), np.uint8), r"\(0, 4\) of uint8"),
    ],
)
def test_what_is_no_photograph_is_refused(array, got):
    message = rf"a: expected colours \(H, W, 3\) or grey \(H, W\) of uint8, 0 to 255, got {got}"
    with pytest.raises(DataError, match=message):
        PhotographInput(4).see(array, "a")


def test_a_photograph_unlike_those_of_the_training_is_noted():
    spec = PhotographInput(8, InputProfile(1.0))
    noise = np.random.default_rng(0).integers(0, 255, (16, 32, 3), dtype=np.uint8)
    (note,) = spec.see(noise, "a.png").notes
    assert note.startswith("a.png: expected width : height 1 : 1 as in training, got 2 : 1")
    (note,) = spec.see(np.full((8, 8, 3), 7, np.uint8), "a.png").notes
    assert note == "a.png: expected some contrast, got the same colour everywhere"


def test_a_photograph_has_no_unit():
    with pytest.raises(ConfigError, match="--unit: expected none with a model of rgb images, got"):
        PhotographInput(8).in_unit("mm")
    assert DepthInput(8).in_unit("mm").rules.unit == "mm"


def test_a_photograph_is_read_as_a_person_sees_it(tmp_path):
    palette = Image.fromarray(np.uint8([[0, 1], [1, 0]]), mode="P")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(tmp_path / "a.png")
    assert PhotographInput(2).read(tmp_path / "a.png")[0].tolist() == [[255, 0, 0], [0, 0, 255]]
