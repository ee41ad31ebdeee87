import pytest
import torch

from fsad.functional.foreground import foreground

H = W = 12


def scene(normal, rows, columns):
    """A background of one kind of patch and an object of another, with noise."""
    features = 0.1 * normal(1, 8, H, W)
    features[:, 0] -= 5
    features[:, 0, rows, columns] += 20
    return features


@pytest.mark.parametrize("sign", [1, -1])
def test_an_object_in_the_middle_is_found_whichever_way_the_component_points(normal, sign):
    mask = foreground(sign * scene(normal, slice(3, 9), slice(3, 9)), 4.0)[0]
    assert bool(mask[3:9, 3:9].all())
    assert not bool(mask[:2].any() or mask[10:].any() or mask[:, :2].any() or mask[:, 10:].any())


def test_a_gap_of_one_patch_is_closed(normal):
    features = scene(normal, slice(3, 9), slice(3, 9))
    features[:, 0, 6, 6] -= 20
    assert bool(foreground(features, 4.0)[0, 6, 6])


def test_each_image_has_its_own_component(normal):
    two = torch.cat(
        [scene(normal, slice(3, 9), slice(3, 9)), scene(normal, slice(4, 8), slice(4, 8))]
    )
    alone = torch.cat([foreground(two[i : i + 1], 4.0) for i in range(2)])
    assert torch.equal(foreground(two, 4.0), alone)
