"""Depth files as sensors write them: taken where the meaning is plain, else refused by name."""

import re
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from fsad.data.depth_file import MOST_PIXELS, read_depth_file, read_size
from fsad.errors import DataError

SHAPE = (24, 32)
Z = np.random.default_rng(0).uniform(0.4, 0.9, SHAPE).astype(np.float32)
POINTS = np.stack([np.ones_like(Z), 2 * np.ones_like(Z), Z], axis=-1)

FORMS = {
    "a.tiff": lambda path: tifffile.imwrite(path, POINTS, photometric="rgb"),
    "b.TIFF": lambda path: tifffile.imwrite(path, POINTS, photometric="rgb"),
    "c.tif": lambda path: tifffile.imwrite(path, POINTS, photometric="rgb", compression="zlib"),
    # tifffile then writes a page for every row, each (W, 3)
    "rows.tiff": lambda path: tifffile.imwrite(path, POINTS, photometric="minisblack"),
    "planes.tiff": lambda path: tifffile.imwrite(
        path, np.moveaxis(POINTS, -1, 0), photometric="rgb", planarconfig="separate"
    ),
    "d.npy": lambda path: np.save(path, POINTS),
    "map.tiff": lambda path: tifffile.imwrite(path, Z),
    "map.npy": lambda path: np.save(path, Z),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_same_depth_comes_out_of_every_form(tmp_path, name):
    FORMS[name](tmp_path / name)
    array = read_depth_file(tmp_path / name)
    np.testing.assert_array_equal(array, Z if "map" in name else POINTS)
    assert read_size(tmp_path / name) == SHAPE


def test_a_16_bit_png_is_read_as_its_numbers_whatever_the_case_of_its_suffix(tmp_path):
    values = np.arange(99, dtype=np.uint16).reshape(9, 11) * 600
    Image.fromarray(values).save(tmp_path / "a.PNG")
    np.testing.assert_array_equal(read_depth_file(tmp_path / "a.PNG"), values)
    assert read_size(tmp_path / "a.PNG") == (9, 11)


REFUSED = {
    "photo.tiff": (
        lambda path: tifffile.imwrite(path, np.ones((8, 8, 3), np.uint8), photometric="rgb"),
        r"expected depth \(H, W\) or points \(H, W, 3\), got \(8, 8, 3\) of uint8: 8 bits are a "
        r"photograph's\. Name the file that holds the sensor's numbers",
    ),
    "grey.npy": (lambda path: np.save(path, np.ones((8, 8), np.uint8)), "8 bits are a photograph"),
    "photo.png": (
        lambda path: Image.fromarray(np.ones((8, 8, 3), np.uint8)).save(path),
        r"expected a 16-bit grey image \(H, W\), got \(8, 8, 3\) in mode 'RGB'.*A depth png holds",
    ),
    "two.tiff": (
        lambda path: tifffile.imwrite(path, np.ones((8, 8, 2), np.float32)),
        r"expected depth \(H, W\) or points \(H, W, 3\) of numbers, got \(8, 8, 2\) of float32",
    ),
    "cut.tiff": (
        lambda path: path.write_bytes(struct.pack("<2sHI", b"II", 42, 10**6) + bytes(500)),
        "got a tiff without pixels: it is cut short. Copy the file again",
    ),
    "none.tiff": (
        lambda path: path.write_bytes(b"no image"),
        r"expected a readable tiff, got '.+'",
    ),
    "none.png": (lambda path: path.write_bytes(b"no image"), r"expected a readable png, got '.+'"),
    "none.npy": (lambda path: path.write_bytes(b"no image"), "a .npy file of numbers, got '.+'"),
    "code.npy": (lambda path: np.save(path, np.array([{}])), "a .npy file of numbers, got '.+'"),
    "a.exr": (lambda path: path.touch(), r"expected xyz .tiff \(H, W, 3\), depth .*, got \.exr"),
    "a": (lambda path: path.touch(), "got no suffix"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_depth_is_named_in_one_line(tmp_path, name):
    write, message = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(
        DataError, match=rf"^{re.escape(str(tmp_path / name))}: .*{message}"
    ) as info:
        read_depth_file(tmp_path / name)
    assert "\n" not in str(info.value)


def claim(path, height, width):
    """Let a small tiff say that it is a large one."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        for name, value in (("ImageLength", height), ("ImageWidth", width)):
            offset, kind = tags[name].valueoffset, tags[name].dtype
            data[offset : offset + 4] = struct.pack("<I" if kind == 4 else "<Hxx", value)
    path.write_bytes(data)


def test_a_tiff_that_claims_more_pixels_than_a_png_may_is_refused_before_it_is_read(
    tmp_path, monkeypatch
):
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, np.ones((70_000, 1), np.float32))  # 32-bit sizes in its directory
    claim(path, 70_000, 60_000)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lambda _: pytest.fail("read"))
    with pytest.raises(
        DataError,
        match=rf"a\.tiff: expected at most {MOST_PIXELS:,} pixels, got a tiff that claims "
        r"\(70000, 60000\)\. Copy the file again",
    ):
        read_depth_file(path)


def test_an_npy_file_cannot_claim_more_numbers_than_it_has(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((10, 10), np.float32))
    data = path.read_bytes().replace(b"(10, 10)", b"(99999, 99999)"[:8].ljust(8))
    header = data.replace(b"(99999, ", b"(99, 99)")
    path.write_bytes(header)
    with pytest.raises(DataError, match=r"a\.npy: expected a \.npy file of numbers"):
        read_depth_file(path)
