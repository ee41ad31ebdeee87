"""The section of the report that shows which patches learnt directions respond to."""

import base64
import io
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from made_run import images_in
from PIL import Image

from fsad.report.features import StageFeatures
from fsad.report.pictures import excerpt
from fsad.report.sections.directions import directions
from fsad.results.feature_samples import RESPONSES, Response

CELL = 1 / 16
ROWS = [
    Response(0, 1, 0.25, 0.5, CELL, CELL, 0.9),
    Response(0, 0, 0.5, 0.5, CELL, CELL, 0.4),
    Response(1, 1, 0.0, 0.0, CELL, CELL, -0.25),
    Response(1, 1, 0.25, 0.5, CELL, CELL, -0.5),
]


@pytest.fixture
def files(dataset):
    return [file for file, defect in images_in(dataset, "knob") if defect != "good"][:2]


@pytest.fixture
def kept(made, files):
    """``kept(files)``: what a run of these defective references kept."""

    def kept(files=files):
        entry = replace(made[1]["knob"].result, anomalies=files)
        result = SimpleNamespace(
            categories={"knob": entry}, config={}, backbone={}, method="m", seed=0, path=made[0]
        )
        sets = {RESPONSES: np.array(ROWS)}
        return [StageFeatures("references", "knob", result, sets, 0)]

    return kept


def test_each_direction_shows_its_patches_the_most_alike_first(kept, files, dataset):
    (section,) = directions(kept(), dataset)
    assert section.name == "directions-knob"
    first, second = re.findall(r"<figure>(.*?)</figure>", section.html)
    said = [re.findall(r'alt="([^"]+)"', tile) for tile in (first, second)]
    assert said == [
        [f"{files[1]}, cosine 0.900", f"{files[0]}, cosine 0.400"],
        [f"{files[1]}, cosine -0.250", f"{files[1]}, cosine -0.500"],
    ]
    captions = [re.findall("<figcaption>(.*?)</figcaption>", tile) for tile in (first, second)]
    assert captions == [["1: 0.90"], ["2: -0.25"]]
    assert "Of each of the 2 directions the 2 anomalous patches" in section.html


def test_without_the_data_set_or_without_responses_there_is_no_section(kept, dataset):
    assert directions(kept(), None) == []
    assert directions([replace(kept()[0], sets={})], dataset) == []


def test_a_reference_that_is_not_there_any_more_is_named(kept, dataset):
    (section,) = directions(kept(["knob/test/cut/rgb/<gone>.png"] * 2), dataset)
    assert "<img" not in section.html
    assert "No pictures: knob/test/cut/rgb/&lt;gone&gt;.png is not in the data set" in section.html


def test_an_excerpt_has_the_part_in_a_frame_in_its_middle():
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[10:20, 40:60] = (0, 0, 255)
    uri = excerpt(pixels, (0.5, 0.25, 0.75, 0.5), 1.0, 60)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), int)
    assert image.shape == (60, 60, 3)
    blue = image[23:37, 23:37].mean(axis=(0, 1))
    assert blue[2] > 200
    assert blue[:2].max() < 60
    assert image[:16, :16].max() < 60
    assert image[18:22, 18:42, 0].max() > 150  # the frame


def test_beyond_the_image_an_excerpt_is_black():
    pixels = np.full((20, 20), 200, np.uint8)
    uri = excerpt(pixels, (0.0, 0.0, 0.1, 0.1), 1.0, 60)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), int)
    assert image[:12, :12].max() < 40
    assert image[45:, 45:].min() > 150
