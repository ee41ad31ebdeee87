"""A folder such as the examples in docstrings are written for."""

import shutil

import numpy as np
import pytest
import yaml
from PIL import Image
from small_runs import cache, finished, run

__all__ = ["cache", "finished", "run"]  # fixtures


@pytest.fixture(scope="session")
def folder(run, finished, cache, tmp_path_factory):
    """Two finished runs, an image, a data set of each layout."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(finished, folder / "outputs/hypertrans")
    words = "method=patchcore", "maps=false", "threshold=false"
    run(folder / "outputs/patchcore", *words, without="method.")
    (generated,) = cache.glob("synthetic/*/knob")
    shutil.copytree(generated.parent, folder / "my_data")
    shutil.copy(next(generated.parent.glob("tile/test/good/xyz/*.tiff")), folder / "part.tiff")
    write_frame(folder / "candies/CandyCane/train/data", "000")
    for place in ("train/good", "test/good", "test/scratch"):
        path = folder / "my_photographs/screw" / place / "000.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(path)
    return folder


def write_frame(folder, stem):
    """Write a good frame as Eyecandies has them."""
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / f"{stem}_image_4.png")
    depth = np.arange(64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(depth).save(folder / f"{stem}_depth.png")
    for name, content in {
        "info_depth": {"normalization": {"min": 1.0, "max": 2.0}},
        "metadata": {"anomalous": 0},
    }.items():
        (folder / f"{stem}_{name}.yaml").write_text(yaml.safe_dump(content))
