import numpy as np
import pytest
import torch

from fsad.errors import ConfigError
from fsad.pretrain.images import GeneratedImages
from fsad.pretrain.pairs import GeneratedPairs

SIZE = 48


@pytest.fixture(scope="module")
def pairs():
    return GeneratedPairs(SIZE, 60, seed=3)


def test_the_same_seed_and_index_give_the_same_bytes_and_others_give_others(pairs):
    again, other = GeneratedPairs(SIZE, 10**6, seed=3), GeneratedPairs(SIZE, 60, seed=4)
    for index in (5, 2, 0):
        assert torch.equal(pairs[index], again[index])
        assert not torch.equal(pairs[index], other[index])
    assert not torch.equal(pairs[0], pairs[1])


def test_an_item_holds_a_photograph_a_depth_image_and_two_images_of_their_own(pairs):
    images = GeneratedImages(SIZE, 120, seed=3)
    for index in range(10):
        item = pairs[index]
        assert item.shape == (4, 3, SIZE, SIZE)
        assert item.dtype == torch.float32
        assert 0 <= float(item.min()) <= float(item.max()) <= 1
        depth = item[1]
        assert torch.equal(depth[0], depth[1])
        assert torch.equal(depth[0], depth[2])
        seen = depth[depth != 0]
        assert float(seen.min()) == pytest.approx(0.1)
        assert float(seen.max()) == pytest.approx(0.9)
        assert torch.equal(item[2], images[2 * index])
        assert torch.equal(item[3], images[2 * index + 1])


def edges(image):
    """Return the strength of the edges of a grey image."""
    down, right = np.gradient(image.mean(dim=0).numpy())
    return np.hypot(down, right)


def test_photograph_and_depth_image_show_the_same_places(pairs):
    """Edges coincide more often in a pair than between one's photograph and another's depth."""
    items = [pairs[index] for index in range(60)]
    photos, depths = ([edges(item[view]).ravel() for item in items] for view in (0, 1))
    matched = np.mean([np.corrcoef(p, d)[0, 1] for p, d in zip(photos, depths, strict=True)])
    others = zip(photos, [*depths[1:], depths[0]], strict=True)
    unmatched = np.mean([np.corrcoef(p, d)[0, 1] for p, d in others])
    assert matched > unmatched + 0.1


@pytest.mark.parametrize("index", [-1, 60])
def test_other_indices_are_refused(pairs, index):
    with pytest.raises(IndexError, match=f"index: expected 0 to 59, got {index}"):
        pairs[index]


def test_a_count_below_one_is_refused():
    with pytest.raises(ConfigError, match="count: expected a whole number of at least 1, got 0"):
        GeneratedPairs(SIZE, 0, seed=3)
