"""A data set in one class: listing is all it takes, the rest comes with the house."""

import csv
import sys
from types import ModuleType

import numpy as np
import pytest
from outcome import numbers
from PIL import Image

from fsad.data.folder import Folder, list_files
from fsad.data.listing import check_category
from fsad.data.reader import FolderReader
from fsad.data.sample import Sample, check_split


class Pictures(FolderReader):
    """``<category>/{train,test}/<defect>/NAME.png``: photographs, and labels of images alone."""

    layout, mark, modalities = "pictures", "good", ("rgb",)
    split_folders = {"train": "train", "validation": "validation", "test": "test"}  # noqa: RUF012

    def samples(self, category, split):
        folder = self.root / check_category(category, self.categories()) / check_split(split)
        return [
            Sample(category, split, path.parent.name, path.stem, {"rgb": path})
            for path in sorted(folder.glob("*/*.png"))
        ]

    def folders(self, category, problems):
        for path in sorted((self.root / category).glob("*/*/")):
            split, defect = path.parts[-2:]
            files = {"rgb": list_files(path, problems, "*.png")}
            patterns, kinds = {"rgb": "*.png"}, ("rgb",)
            yield Folder(category, split, defect, patterns, kinds, files, kinds, {"rgb": ()})


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for split, defect, count in (("train", "good", 4), ("test", "good", 2), ("test", "spot", 2)):
        folder = tmp_path / "pictures/screw" / split / defect
        folder.mkdir(parents=True)
        for place in range(count):
            pixels = rng.integers(90, 110, (64, 64, 3), dtype=np.uint8)
            pixels[16:48, 16:48] += np.uint8(80)
            if defect == "spot":
                pixels[24:36, 24:36] = (250, 0, 0)
            Image.fromarray(pixels).save(folder / f"{place:03d}.png")
    return tmp_path / "pictures"


def test_a_folder_of_photographs_is_learnt_from_and_scored(run, root, tmp_path, monkeypatch):
    module = ModuleType("pictures")
    module.Pictures = Pictures
    monkeypatch.setitem(sys.modules, "pictures", module)
    words = (  # what its file in conf/data would say
        "~data.reader",
        "+data.reader={_target_: pictures.Pictures, _partial_: true}",
        f"data.root={root}",
        "data.category=screw",
        "protocol=few_shot",
        "protocol.modality=rgb",
    )
    without = ("method.", "data.reader", "data.category")
    folder = run(tmp_path / "run", "method=patchcore", *words, without=without)
    entry = numbers(folder)[0]["screw"]
    assert entry["image_auroc"] == 1.0
    assert entry["pixel_auroc"] is None
    assert entry["undefined"]["pixel_auroc"] == "2 of 2 defective test images have no mask"
    with (folder / "scores.csv").open() as file:
        names = [row["image"] for row in csv.DictReader(file)]
    assert names[0] == "screw/test/good/000.png"
