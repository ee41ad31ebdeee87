"""Which files are images, and what those that are none are told."""

import pickle

import numpy as np
import pytest
import tifffile
from PIL import Image

from fsad.data.depth_rules import DepthRules
from fsad.data.input import DepthInput
from fsad.errors import DataError, MissingDataError
from fsad.predict.images import find_images

DEPTH = DepthInput(8)
Z = np.random.default_rng(0).uniform(0.4, 0.9, (9, 11)).astype(np.float32)


def test_a_folders_own_images_come_sorted_and_each_once(tmp_path):
    for name in ("b.npy", "a.TIFF", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "c.png").touch()
    found = find_images([tmp_path / "b.npy", tmp_path], DEPTH)
    assert [path.name for path in found] == ["b.npy", "a.TIFF"]


def test_no_image_at_all_and_a_path_that_is_not_there_are_errors(tmp_path):
    with pytest.raises(MissingDataError, match=r"expected xyz \.tiff.*got none.*name them"):
        find_images([tmp_path], DEPTH)
    with pytest.raises(MissingDataError, match="gone: expected an image or a folder of images"):
        find_images([tmp_path / "gone"], DEPTH)


def test_the_same_depth_comes_from_points_and_from_either_array(tmp_path):
    points = np.stack([Z * 0, Z * 0, Z], axis=-1)
    tifffile.imwrite(tmp_path / "a.tiff", points, photometric="rgb")
    np.save(tmp_path / "b.npy", Z)
    np.save(tmp_path / "c.npy", points)
    for path in find_images([tmp_path], DEPTH):
        np.testing.assert_array_equal(DepthRules().depth(DEPTH.read(path), "x"), Z)


def test_a_16_bit_png_has_holes_at_0_unless_0_is_its_nearest_depth(tmp_path):
    values = np.arange(99, dtype=np.uint16).reshape(9, 11) * 600
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(DEPTH.read(tmp_path / "a.png"), values)
    np.testing.assert_array_equal(
        DepthInput(8, png_holes=False).read(tmp_path / "a.png"), values + np.float32(1)
    )


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_that_calls_itself_npy_is_not_executed(tmp_path):
    path, proof = tmp_path / "a.npy", tmp_path / "executed"
    path.write_bytes(pickle.dumps(Bomb(proof)))
    with pytest.raises(DataError, match=r"a \.npy file of numbers"):
        DEPTH.read(path)
    np.save(path, np.array([Bomb(proof)], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a \.npy file of numbers"):
        DEPTH.read(path)
    assert not proof.exists()
