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


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_beside_an_image_is_no_object_and_changes_nothing_within_it(normal, sign):
    tall, wide = (10, 6), (7, 12)
    objects = (slice(3, 8), slice(2, 5)), (slice(2, 5), slice(3, 9))
    features = 3 + torch.zeros(2, 8, H, W)
    features[:, 1] = 400  # far from all that the images show
    inside = torch.zeros(2, H, W, dtype=torch.bool)
    alone = []
    for number, (height, width) in enumerate((tall, wide)):
        image = sign * scene(normal, *objects[number])[..., :height, :width]
        features[number, :, :height, :width] = image
        inside[number, :height, :width] = True
        alone.append(foreground(image, 4.0)[0])
    mask = foreground(features, 4.0, inside)
    assert not bool(mask[~inside].any())
    for found, (height, width), wanted in zip(mask, (tall, wide), alone, strict=True):
        assert 0 < wanted.sum() < wanted.numel()
        assert torch.equal(found[:height, :width], wanted)
    assert not torch.equal(foreground(features, 4.0)[inside], mask[inside])


def test_an_object_at_the_border_grows_as_it_does_where_the_canvas_ends(normal):
    image = scene(normal, slice(2, 9), slice(2, 7))[..., :9, :7]  # up to the last row and column
    features = torch.zeros(1, 8, H, W)
    features[..., :9, :7] = image
    inside = torch.zeros(1, H, W, dtype=torch.bool)
    inside[:, :9, :7] = True
    assert torch.equal(foreground(features, 4.0, inside)[:, :9, :7], foreground(image, 4.0))
