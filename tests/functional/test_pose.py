"""How often images match unturned, against the definition in float64 and in closed cases."""

import math

import pytest
import torch

from fsad.functional.pose import upright_match_rate

K, N, P, C = 4, 5, 7, 6


@pytest.fixture
def views(normal):
    return normal(K, N, P, C)


def test_it_is_the_definition_written_out(views):
    wide = views.double()
    upright = []
    for i in range(N):
        for j in range(N):
            if i != j:
                first, *others = (
                    float(torch.cdist(wide[0, i], wide[k, j]).amin(dim=1).mean()) for k in range(K)
                )
                upright.append(first < min(others))
    share = sum(upright) / len(upright)
    assert 0 < share < 1
    assert upright_match_rate(views) == pytest.approx(share)


def test_the_same_thing_lying_alike_always_matches_unturned(views):
    same = views[:, :1].expand(K, N, P, C)
    assert upright_match_rate(same) == 1


def test_something_round_never_matches_better_unturned(views):
    assert upright_match_rate(views[:1].expand(K, N, P, C)) == 0


def test_one_thing_turned_at_random_matches_unturned_where_two_lie_alike(views):
    turns = torch.tensor([0, 1, 2, 3, 0])  # of each image: one pair, in both orders, lies alike
    places = (turns + torch.arange(K)[:, None]) % K
    assert upright_match_rate(views[places, 0]) == pytest.approx(2 / (N * (N - 1)))


def test_the_order_of_images_and_of_further_views_changes_nothing(views):
    other = views[[0, 3, 1, 2]][:, torch.arange(N - 1, -1, -1)]
    assert upright_match_rate(other) == upright_match_rate(views)


def test_a_single_image_tells_nothing(views):
    assert math.isnan(upright_match_rate(views[:, :1]))
