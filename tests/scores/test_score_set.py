"""Scores of images in parts: what is kept of them, and how they become one."""

import pytest
import torch
from torch.testing import assert_close

from fsad.errors import ConfigError, ShapeError
from fsad.scores.combination import Combination, MapMaker, two_domains
from fsad.scores.score_set import Scores, TestScores, complete, from_tensors, to_tensors

PATCHES = torch.tensor([[[1.0, 4.0], [2.0, 3.0]], [[0.0, 5.0], [6.0, 1.0]]])


def test_an_image_scores_as_its_worst_patch_unless_the_method_says_otherwise():
    parts = complete({"seen": PATCHES, "whole": Scores(None, torch.tensor([7, 8]))})
    assert parts["seen"].images.tolist() == [4.0, 6.0]
    assert parts["whole"].images.tolist() == [7.0, 8.0]
    assert parts["whole"].patches is None


def test_a_file_gives_back_parts_with_and_without_patches():
    parts = {"a": Scores(PATCHES, PATCHES.amax(dim=(1, 2))), "b": Scores(None, torch.ones(2))}
    again = from_tensors(to_tensors(parts))
    assert again.keys() == parts.keys()
    assert torch.equal(again["a"].patches, PATCHES)
    assert again["b"].patches is None
    assert torch.equal(again["b"].images, torch.ones(2))


@pytest.mark.parametrize("tensors", [{}, {"a": PATCHES}, {"a": PATCHES, "b.images": PATCHES}])
def test_patches_without_image_scores_are_no_scores(tensors):
    with pytest.raises(KeyError):
        from_tensors(tensors)


def test_batches_come_back_in_the_order_of_the_test_samples():
    scores = TestScores()
    scores.update(torch.tensor([2, 0]), {"whole": Scores(None, torch.tensor([2.0, 0.0]))})
    scores.update(torch.tensor([1]), {"whole": Scores(None, torch.tensor([1.0]))})
    gathered = scores.gathered(3, torch.device("cpu"))
    assert gathered["whole.images"].tolist() == [0.0, 1.0, 2.0]


PARTS = {"source": torch.tensor([4.0, 1.0]), "target": torch.tensor([8.0, 3.0])}


@pytest.mark.parametrize(
    ("combination", "wanted"),
    [
        (Combination("mean", {"source": 0.25, "target": 0.75}), [7.0, 2.5]),
        (two_domains(1.0), [4.0, 1.0]),
        (Combination("max"), [8.0, 3.0]),
        (Combination("sum"), [12.0, 4.0]),
    ],
)
def test_parts_become_one(combination, wanted):
    assert_close(combination.combine(PARTS), torch.tensor(wanted))


@pytest.mark.parametrize("kind", ["mean", "max", "sum"])
def test_a_part_alone_is_the_whole_score(kind):
    part = torch.tensor([3.0])
    assert Combination(kind).combine({"only": part}) is part


def test_parts_of_other_shapes_are_refused():
    with pytest.raises(ShapeError, match="parts: expected one shape, got"):
        Combination("max").combine({"a": torch.zeros(2), "b": torch.zeros(3)})


@pytest.mark.parametrize(
    ("kind", "weights", "message"),
    [
        ("median", {}, "combination: expected one of mean, max, sum, got 'median'"),
        ("mean", {"a": 0.5, "b": 0.4}, r"weights: expected a sum of 1, got 0\.9\. Divide by it"),
        ("mean", {"a": 1.5, "b": -0.5}, "weight of a: expected"),
    ],
)
def test_a_combination_out_of_range_is_refused(kind, weights, message):
    with pytest.raises(ConfigError, match=message):
        Combination(kind, weights)


def test_a_record_says_how_parts_became_one_and_earlier_ones_a_share_alone():
    mean, largest = two_domains(0.3), Combination("max")
    assert Combination.of({"combination": mean.to_json(), "beta": 0.9}, largest) == mean
    assert Combination.of({"beta": 0.3}, largest) == mean
    assert Combination.of({}, largest) == largest


def test_a_method_has_maps_only_where_all_its_parts_have():
    maker = MapMaker(4, 0.0, Combination("max"))
    patches = Scores(PATCHES, PATCHES.amax(dim=(1, 2)))
    whole = Scores(None, torch.tensor([9.0, 9.0]))
    images, maps = maker.combine({"a": patches})
    assert maps.shape == (2, 4, 4)
    images, maps = maker.combine({"a": patches, "b": whole})
    assert images.tolist() == [9.0, 9.0]
    assert maps is None


def test_a_sum_has_the_map_of_those_parts_that_have_one():
    maker = MapMaker(4, 0.0, Combination("sum"))
    patches = Scores(PATCHES, PATCHES.amax(dim=(1, 2)))
    whole = Scores(None, torch.tensor([-9.0, 9.0]))
    images, maps = maker.combine({"a": patches, "b": whole, "c": patches})
    torch.testing.assert_close(images, 2 * patches.images + whole.images)
    torch.testing.assert_close(maps, 2 * maker.maps(PATCHES))
    assert maker.combine({"b": whole})[1] is None


def test_a_part_without_a_weight_is_named():
    message = "combination: expected a weight for each of source, target, got none for source, targ"
    with pytest.raises(ConfigError, match=message):
        Combination().combine(PARTS)
