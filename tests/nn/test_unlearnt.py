"""Features without weights: pixels and dense SIFT."""

import pytest
import torch
from small_backbones import images

from fsad.errors import ConfigError
from fsad.nn.unlearnt import PixelExtractor, SiftExtractor


def test_pixels_are_the_image():
    depth = images()[:, :1].expand(-1, 3, -1, -1)
    extractor = PixelExtractor(64)
    assert extractor.weights == "none needed"
    assert (extractor.grid, extractor.channels) == ((64, 64), 1)
    torch.testing.assert_close(extractor(depth, "target"), depth[:, :1])


def test_sift_does_not_change_with_the_slope_and_offset_of_intensity():
    extractor, pixels = SiftExtractor(64), images()
    features = extractor(pixels)
    assert features.shape == (2, 128, 8, 8)
    torch.testing.assert_close(extractor(0.4 * pixels + 0.3), features, rtol=0, atol=1e-3)
    assert float((extractor(images(seed=1)) - features).abs().mean()) > 1e-2


@pytest.mark.parametrize("cell", [(2, 5), (5, 2), (1, 1)])
def test_a_change_within_a_cell_is_seen_alike_on_all_its_sides(cell):
    extractor, (row, column) = SiftExtractor(64), cell
    pixels = torch.zeros(1, 3, 64, 64)
    pixels[..., 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 1.0
    seen = extractor(pixels).norm(dim=1)[0]
    around = seen[row - 1 : row + 2, column - 1 : column + 2]
    torch.testing.assert_close(around, around.flip(0), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(around, around.T, rtol=1e-3, atol=1e-4)
    assert float(seen.sum() - around.sum()) < 0.3 * float(around.sum())


def test_sift_asks_for_whole_cells():
    with pytest.raises(ConfigError, match=r"data\.image_size: expected a multiple of 8"):
        SiftExtractor(60)
