"""What patches beside an image score changes nothing."""

import pytest
import torch

from fsad.functional.scoring import continued, image_scores, lowest_beside, top_mean
from fsad.scores.score_set import Scores, complete

AREAS = [(6, 9), (6, 4), (2, 9), (1, 1)]


@pytest.fixture
def patches():
    return torch.rand(len(AREAS), 6, 9, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def inside():
    marks = torch.zeros(len(AREAS), 6, 9, dtype=torch.bool)
    for mark, (height, width) in zip(marks, AREAS, strict=True):
        mark[:height, :width] = True
    return marks


def crops(patches):
    return [
        each[None, :height, :width] for each, (height, width) in zip(patches, AREAS, strict=True)
    ]


@pytest.mark.parametrize("share", [1e-6, 0.1, 0.5, 1.0])
def test_the_worst_patches_are_those_of_the_image_alone(patches, inside, share):
    alone = torch.cat([top_mean(crop, share) for crop in crops(patches)])
    spoilt = torch.where(inside, patches, 1e6)
    torch.testing.assert_close(top_mean(spoilt, share, inside), alone)
    whole = torch.ones_like(inside)
    assert torch.equal(top_mean(patches, share, whole), top_mean(patches, share))


def test_an_image_scores_as_it_would_alone(patches, inside):
    spoilt = torch.where(inside, patches, torch.inf)
    scores = complete({"target": spoilt}, inside)["target"]
    assert torch.equal(scores.images, torch.cat([image_scores(crop) for crop in crops(patches)]))
    assert torch.equal(scores.patches, continued(patches, inside))
    kept = Scores(spoilt, torch.zeros(len(AREAS)))
    assert torch.equal(complete({"target": kept}, inside)["target"].images, kept.images)


def test_a_map_goes_on_beside_an_image_as_its_border_is(patches, inside):
    filled = continued(torch.where(inside, patches, -7.0), inside)
    for whole, (crop,), (height, width) in zip(filled, crops(patches), AREAS, strict=True):
        assert torch.equal(whole[:height, :width], crop)
        assert (whole[height:, :width] == crop[-1]).all()
        assert (whole[:height, width:] == crop[:, -1:]).all()
        assert (whole[height:, width:] == crop[-1, -1]).all()


def test_a_grid_of_a_methods_own_is_divided_as_the_extractors(patches, inside):
    fine = patches.repeat_interleave(3, dim=1).repeat_interleave(2, dim=2)
    spoilt = torch.where(inside, patches, torch.inf)
    spoilt = spoilt.repeat_interleave(3, dim=1).repeat_interleave(2, dim=2)
    found, known = complete({"a": spoilt}, inside)["a"], complete({"a": patches}, inside)["a"]
    assert torch.equal(found.images, known.images)
    assert torch.equal(
        found.patches[inside.repeat_interleave(3, 1).repeat_interleave(2, 2)],
        fine[inside.repeat_interleave(3, 1).repeat_interleave(2, 2)],
    )
    assert found.patches.isfinite().all()


def test_where_every_image_fills_its_canvas_nothing_is_done(patches):
    assert continued(patches, None) is patches
    assert lowest_beside(patches, None) is patches
