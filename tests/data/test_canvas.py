"""The canvas of a category's images: where an image lies on it, and who chooses it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fsad.data.canvas import ALIKE, BESIDE, Canvas, as_canvas
from fsad.data.datamodule import DataModule
from fsad.data.images import photograph_size, rgb_pixels
from fsad.data.input import PhotographInput, input_spec
from fsad.data.mvtec3d import MVTec3D
from fsad.data.photographs.image_folder import ImageFolder
from fsad.data.profile import InputProfile
from fsad.data.transforms import load_tensors
from fsad.errors import ConfigError, DataError

TALL = Canvas.of_aspect(0.4, 64, 8)  # 160 x 64
SIZES = [(250, 100), (250, 104), (300, 300), (90, 400), (1000, 10), (33, 17), (160, 64)]


@pytest.mark.parametrize("size", SIZES)
def test_an_area_is_of_whole_cells_and_lies_on_the_canvas(size):
    for side, most in zip(TALL.area(*size), TALL.shape, strict=True):
        assert 0 < side <= most
        assert side % TALL.cell == 0


@pytest.mark.parametrize("size", SIZES)
def test_an_image_on_its_side_has_the_area_on_its_side(size):
    wide = Canvas.of_aspect(1 / TALL.aspect, 64, 8)
    assert wide.shape == TALL.shape[::-1]
    assert wide.area(*size[::-1]) == TALL.area(*size)[::-1]


@pytest.mark.parametrize("size", [size for size in SIZES if size != (1000, 10)])  # a cell at least
def test_an_area_has_the_images_aspect_to_half_a_cell_unless_it_fills_the_canvas(size):
    area = TALL.area(*size)
    if area != TALL.shape:
        scale = min(side / own for side, own in zip(TALL.shape, size, strict=True))
        for side, own in zip(area, size, strict=True):
            assert abs(side - own * scale) <= TALL.cell / 2


def test_an_image_of_nearly_the_same_aspect_fills_the_canvas():
    aspect = TALL.aspect
    assert TALL.is_filled_by(1000, 1000 * aspect * (1 + 0.99 * ALIKE))
    assert TALL.is_filled_by(1000, 1000 * aspect / (1 + 0.99 * ALIKE))
    assert not TALL.is_filled_by(1000, 1000 * aspect * (1 + 1.01 * ALIKE))


def test_every_image_fills_a_square_that_nothing_else_is_said_of():
    assert as_canvas(32).area(10, 400) == (32, 32)
    assert as_canvas(TALL) is TALL


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((60, 64, 8, 1.0), "canvas: expected a multiple of 8 pixels, got 60 x 64"),
        ((0, 64, 8, 1.0), "canvas.height: expected a whole number of at least 1, got 0"),
        ((64, 64, 8, -1.0), "canvas.aspect: expected a number above 0, got -1.0"),
    ],
)
def test_a_canvas_that_cannot_be_is_refused(values, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        Canvas(*values)


def test_a_canvas_is_written_down_with_the_profile_and_read_back():
    spec = PhotographInput(64, InputProfile(0.41, canvas=TALL))
    record = json.loads(json.dumps(spec.to_json()))
    assert input_spec("rgb", 64, record) == spec
    assert spec.canvas == TALL
    assert "canvas" not in PhotographInput(64, InputProfile(0.4)).to_json()["profile"]
    with pytest.raises(KeyError, match="cell"):
        Canvas.from_json({"height": 8, "width": 8})


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_beside_an_image_there_is_nothing():
    pixels = rgb_pixels(noise(100, 100), TALL)
    height, width = TALL.area(100, 100)
    assert pixels.shape == (3, *TALL.shape)
    assert (pixels[:, :height, :width] >= 0).all()
    assert (pixels[:, height:] == BESIDE).all()
    assert (pixels[:, :, width:] == BESIDE).all()
    np.testing.assert_array_equal(pixels[:, :64, :64], rgb_pixels(noise(100, 100), 64))


def test_a_square_photograph_on_a_square_canvas_is_what_it_always_was():
    canvas = Canvas.of_aspect(1.0, 64, 8)
    np.testing.assert_array_equal(rgb_pixels(noise(90, 90), canvas), rgb_pixels(noise(90, 90), 64))


def photograph(path, height, width, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(height, width, seed)).save(path)


@pytest.fixture
def plates(tmp_path):
    """Tall plates; a test image of another aspect, with a mask in its lower right corner."""
    for number in range(5):
        photograph(tmp_path / f"plate/train/good/{number}.png", 100 + number, 40, number)
    photograph(tmp_path / "plate/test/good/0.png", 100, 40)
    photograph(tmp_path / "plate/test/spot/0.png", 80, 80)
    mask = np.zeros((80, 80), np.uint8)
    mask[60:, 70:] = 255
    path = tmp_path / "plate/ground_truth/spot/0_mask.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(mask).save(path)
    return tmp_path


def data_of(root, reader=ImageFolder, modality="rgb", **options):
    settings = {"image_size": 64, "modality": modality, "source": {"modality": modality}}
    return DataModule(reader, root, "plate", 3, resize="keep", **settings, **options)


def test_the_canvas_has_the_median_aspect_of_the_shots(plates):
    data = data_of(plates)
    heights = [photograph_size(plates / name)[0] for name in data.shot_files]
    canvas = data.lay_out(8)
    assert canvas == data.canvas == data.inspect_shots().canvas
    assert canvas.aspect == 40 / sorted(heights)[1]


def test_test_images_choose_nothing(plates):
    before = data_of(plates).lay_out(8)
    photograph(plates / "plate/test/spot/0.png", 40, 90)
    photograph(plates / "plate/test/good/0.png", 40, 90)
    assert data_of(plates).lay_out(8) == before


def test_a_prediction_sees_the_bits_that_the_test_saw_and_the_masks_lie_with_them(plates):
    data = data_of(plates)
    canvas = data.lay_out(8)
    spec = PhotographInput(64, data.inspect_shots())
    for sample in data.test_samples:
        path = sample.files["rgb"]
        seen = spec.see(spec.read(path), path.name)
        tested = load_tensors(data.reader, sample, canvas, ["rgb", "mask", "area"])
        assert torch.equal(torch.from_numpy(seen.pixels), tested["rgb"])
        assert tuple(tested["area"].tolist()) == seen.area
        assert tested["mask"].shape == canvas.shape
        assert not tested["mask"][tested["rgb"][0] == BESIDE].any()
        assert sum(seen.area) < sum(canvas.shape) or seen.notes == ()
    rows, columns = tested["mask"].nonzero().amax(dim=0).tolist()
    assert (rows + 1, columns + 1) == (64, 64)  # the corner of the square image's area
    assert seen.notes == (
        f"0.png: expected width : height {canvas.aspect:.3g} : 1 as in training, got 1 : 1. It is "
        f"made smaller until all of it fits into 64 x {canvas.height} pixels, so the part may look "
        "smaller than in training",
    )


def test_training_images_of_several_shapes_are_refused(plates):
    photograph(plates / "plate/train/good/0.png", 40, 80)
    message = (
        r"^data\.resize: expected training images of one width : height for keep, got 0\.\d+ : 1 "
        r"and, of plate/train/good/0, 2 : 1\. Sort them into categories, or choose "
        r"data\.resize=square\.$"
    )
    data = DataModule(
        ImageFolder, plates, "plate", 5, 64, resize="keep", modality="rgb"
    )  # all five
    with pytest.raises(DataError, match=message):
        data.lay_out(8)


def test_a_data_set_of_depth_is_made_square(mvtec3d):
    data = DataModule(MVTec3D, mvtec3d, "bolt", 1, 32, resize="keep")
    message = (
        r"^data\.resize: expected square with a data set of depth, got keep\. Choose square, or a "
        r"data set of photographs alone\.$"
    )
    with pytest.raises(ConfigError, match=message):
        data.lay_out(8)
    assert DataModule(MVTec3D, mvtec3d, "bolt", 1, 32).lay_out(8) == Canvas.square(32)


def test_another_way_to_resize_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.resize: expected one of square, keep, got 'pad'"):
        DataModule(MVTec3D, tmp_path, "bolt", 1, resize="pad")
