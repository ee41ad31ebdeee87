"""DevNet: its score and its map, and the name of its frozen variant."""

import torch
from small_backbone import small_backbone

from fsad.methods.devnet import DevNet
from fsad.methods.shared.open_set.scorer import CELL

FIT = {"epochs": 1, "steps": 1, "normals": 2, "anomalies": 2}


def images(count, seed=0):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def scorer_of(**settings):
    return DevNet(FIT, **settings).plan(small_backbone()).scorer.eval()


def test_the_map_is_how_much_the_pixels_of_a_cell_move_the_score():
    scorer = scorer_of()
    scores = scorer.score(images(2))["seen"]
    assert scores.patches.shape == (2, 32 // CELL, 32 // CELL)
    seen, step = images(2)[:1].double(), 1e-5
    scorer = scorer.double()
    cells = scorer.score(seen)["seen"].patches[0]
    total = 0.0
    for colour in range(3):
        for row in range(2):
            for column in range(2):
                ends = []
                for sign in (1, -1):
                    moved = seen.clone()
                    moved[0, colour, 8 + row, 16 + column] += sign * step
                    ends.append(scorer._score(moved)["seen"].images.item())
                total += abs(ends[0] - ends[1]) / (2 * step)
    gradient = torch.autograd.functional.jacobian(
        lambda it: scorer._score(it)["seen"].images[0], seen
    )
    corner = gradient[0].abs().sum(dim=0)[8:10, 16:18].sum().item()
    torch.testing.assert_close(corner, total, rtol=1e-3, atol=1e-9)
    whole = gradient[0].abs().sum(dim=0)[8:16, 16:24].mean()
    torch.testing.assert_close(cells[1, 2], whole)


def test_scores_and_maps_are_there_where_gradients_are_off():
    scorer = scorer_of()
    known = scorer.score(images(3))["seen"]
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            found = scorer.score(images(3))["seen"]
        assert torch.equal(found.images, known.images)
        assert torch.equal(found.patches, known.patches)
        assert not found.images.requires_grad


def test_a_frozen_trunk_is_another_method_by_name_and_trains_its_head_alone():
    assert DevNet(FIT).name == "devnet"
    method = DevNet(FIT, trunk="frozen")
    assert method.name == "devnet (frozen trunk)"
    (stage,) = method.plan(small_backbone()).fits
    assert sorted(name for name, _ in stage.network.named_parameters()) == [
        "heads.seen.conv.bias",
        "heads.seen.conv.weight",
    ]
