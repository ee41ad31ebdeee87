"""Which files are images, and what those that are none are told."""

import io
import pickle
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from fsad.errors import DataError, MissingDataError
from fsad.predict.images import depth_of, find_images, read_array

Z = np.random.default_rng(0).uniform(0.4, 0.9, (9, 11)).astype(np.float32)


def test_a_folders_own_images_come_sorted_and_each_once(tmp_path):
    for name in ("b.npy", "a.TIFF", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "c.png").touch()
    found = find_images([tmp_path / "b.npy", tmp_path])
    assert [path.name for path in found] == ["b.npy", "a.TIFF"]


def test_no_image_at_all_and_a_path_that_is_not_there_are_errors(tmp_path):
    with pytest.raises(MissingDataError, match=r"expected xyz \.tiff.*got none.*name them"):
        find_images([tmp_path])
    with pytest.raises(MissingDataError, match="gone: expected an image or a folder of images"):
        find_images([tmp_path / "gone"])


def test_the_same_depth_comes_from_points_and_from_either_array(tmp_path):
    points = np.stack([Z * 0, Z * 0, Z], axis=-1)
    tifffile.imwrite(tmp_path / "a.tiff", points, photometric="rgb")
    np.save(tmp_path / "b.npy", Z)
    np.save(tmp_path / "c.npy", points)
    for path in find_images([tmp_path]):
        np.testing.assert_array_equal(depth_of(read_array(path), "x"), Z)


def test_a_16_bit_png_is_depth_with_holes_at_0(tmp_path):
    values = np.arange(99, dtype=np.uint16).reshape(9, 11) * 600
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(depth_of(read_array(tmp_path / "a.png"), "x"), values)


def test_what_is_no_depth_counts_as_a_hole():
    z = Z.copy()
    z[0, :3] = np.nan, np.inf, -1
    assert (depth_of(z, "x")[0, :3] == 0).all()


def cut_tiff(path):
    whole = io.BytesIO()
    tifffile.imwrite(whole, np.zeros((64, 64, 3), np.float32), photometric="rgb")
    path.write_bytes(whole.getvalue()[:3000])


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("a.tiff", cut_tiff, "expected a readable tiff|a tiff without pixels"),
        ("a.png", lambda path: path.write_text("no image"), "expected a readable png"),
        (
            "a.png",
            lambda path: Image.fromarray(np.zeros((4, 4), np.uint8)).save(path),
            "expected a 16-bit grey image",
        ),
        ("a.npy", lambda path: np.save(path, np.array([{}])), r"a \.npy file of numbers, got"),
        ("a.npy", lambda path: path.write_bytes(b"\x93NUMPY"), r"a \.npy file of numbers, got"),
        ("a.jpg", lambda path: path.touch(), r"expected xyz \.tiff .*, got \.jpg"),
        ("a", lambda path: path.touch(), "got no suffix"),
    ],
)
def test_a_file_that_is_no_depth_is_named(tmp_path, name, spoil, message):
    spoil(tmp_path / name)
    with pytest.raises(DataError, match=rf"{re.escape(name)}: .*({message})"):
        read_array(tmp_path / name)


def test_a_pickle_that_calls_itself_npy_is_not_executed(tmp_path):
    path, proof = tmp_path / "a.npy", tmp_path / "executed"
    path.write_bytes(pickle.dumps(Bomb(proof)))
    with pytest.raises(DataError, match=r"a \.npy file of numbers"):
        read_array(path)
    np.save(path, np.array([Bomb(proof)], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a \.npy file of numbers"):
        read_array(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "array",
    [np.zeros(4), np.zeros((4, 4, 2)), np.zeros((0, 4)), np.zeros((4, 4), complex)],
)
def test_an_array_of_another_kind_is_refused(array):
    with pytest.raises(DataError, match=r"x: expected depth \(H, W\) or points \(H, W, 3\)"):
        depth_of(array, "x")


def test_an_image_without_a_valid_depth_is_refused():
    with pytest.raises(DataError, match="x: expected at least one depth that is finite"):
        depth_of(np.zeros((4, 4)), "x")
