import math
from itertools import pairwise

import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close
from torchvision.transforms.functional import gaussian_blur

from fsad.errors import ConfigError, ShapeError
from fsad.functional.scoring import (
    BLUR_TRUNCATE,
    anomaly_maps,
    blur,
    fuse,
    image_scores,
    patch_scores,
)

N, C, H, W = 3, 5, 4, 6


@pytest.fixture
def features(normal):
    return normal(N, C, H, W)


@pytest.fixture
def bank(normal):
    return normal(50, C)


def test_every_patch_scores_its_distance_to_the_nearest_bank_row(features, bank):
    scores = patch_scores(features, bank)
    for n, h, w in torch.cartesian_prod(*map(torch.arange, (N, H, W))).tolist():
        nearest = min((features[n, :, h, w] - row).norm() for row in bank)
        assert_close(scores[n, h, w], nearest)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_bank_member_scores_0(features, dtype):
    features = (features + 100).to(dtype)
    members = features.permute(0, 2, 3, 1).reshape(-1, C)
    assert torch.equal(patch_scores(features, members), torch.zeros(N, H, W, dtype=dtype))


def test_a_larger_bank_never_scores_higher(features, bank):
    scores = [patch_scores(features, bank[:rows]) for rows in (1, 10, 30, 50)]
    for smaller, larger in pairwise(scores):
        assert (larger <= smaller).all()


def test_moving_away_from_the_bank_never_lowers_the_score(features, bank, normal):
    direction = torch.nn.functional.normalize(normal(C), dim=0)
    reach = float((bank @ direction).max()) + float(features.abs().max()) * C
    start = features + (reach * direction)[None, :, None, None]  # beyond every row
    scores = [patch_scores(start + (s * direction)[None, :, None, None], bank) for s in (0, 1, 5)]
    assert (scores[1] > scores[0]).all()
    assert (scores[2] > scores[1]).all()


def test_an_images_scores_and_map_do_not_depend_on_its_batch(features, bank):
    together = patch_scores(features, bank)
    alone = torch.cat([patch_scores(features[n : n + 1], bank) for n in range(N)])
    assert_close(together, alone, rtol=1e-14, atol=0)
    maps = torch.cat([anomaly_maps(together[n : n + 1], 32) for n in range(N)])
    assert_close(anomaly_maps(together, 32), maps, rtol=1e-14, atol=1e-15)


def test_an_image_scores_its_most_anomalous_patch(uniform):
    patches = uniform(N, H, W)
    assert image_scores(patches).tolist() == [max(patches[n].flatten().tolist()) for n in range(N)]


@pytest.mark.parametrize("grid", [(1, 1), (4, 6), (28, 28)])
@pytest.mark.parametrize("sigma", [0.0, 1.3, 4.0, 40.0])
def test_constant_scores_give_the_same_constant_everywhere(grid, sigma):
    patches = torch.full((2, *grid), 3.7, dtype=torch.float64)
    assert_close(anomaly_maps(patches, 56, sigma), torch.full((2, 56, 56), 3.7).double())


def test_without_blur_the_map_is_the_bilinear_interpolation_of_the_patch_centres(uniform):
    patches, factor = uniform(1, 5, 5), 8
    maps = anomaly_maps(patches, 5 * factor, sigma=0)
    centres = (torch.arange(5 * factor).double() + 0.5) / factor - 0.5  # in patches
    grid = torch.meshgrid(centres, centres, indexing="ij")
    expected = ndimage.map_coordinates(
        patches[0].numpy(), torch.stack(grid), order=1, mode="nearest"
    )
    assert_close(maps[0], torch.from_numpy(expected))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5, 2.0, 4.0])
@pytest.mark.parametrize("shape", [(40, 50), (17, 33)])
def test_the_blur_equals_scipys_mirrored_gaussian(uniform, sigma, shape):
    maps = uniform(2, *shape)
    expected = [ndimage.gaussian_filter(m.numpy(), sigma, mode="mirror", truncate=4) for m in maps]
    assert_close(blur(maps, sigma), torch.stack([torch.from_numpy(m) for m in expected]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sigma", [0.3, 1, 1.3, 4.0, 7.5, 40.0])
@pytest.mark.parametrize("shape", [(1, 224, 224), (3, 40, 50), (2, 17, 33), (16, 112, 112)])
def test_the_blur_equals_two_of_torchvisions_bit_for_bit(shape, sigma, dtype):
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    width = 2 * min(math.ceil(BLUR_TRUNCATE * sigma), min(shape[1:]) - 1) + 1
    expected = maps[:, None]
    for kernel_size in ([1, width], [width, 1]):
        expected = gaussian_blur(expected, kernel_size, [float(sigma)] * 2)
    assert torch.equal(blur(maps, sigma), expected[:, 0])


def test_a_sigma_of_0_leaves_the_map_as_it_is(uniform):
    maps = uniform(2, 9, 9)
    assert torch.equal(blur(maps, 0), maps)


def test_the_map_stays_within_the_range_of_the_patch_scores(uniform):
    patches = uniform(N, 7, 7)
    maps = anomaly_maps(patches, 56)
    assert (maps.amin(dim=(1, 2)) >= patches.amin(dim=(1, 2))).all()
    assert (maps.amax(dim=(1, 2)) <= patches.amax(dim=(1, 2))).all()


def test_a_higher_patch_score_never_lowers_the_map(uniform):
    patches = uniform(N, 7, 7)
    raised = patches + uniform(N, 7, 7)
    assert (anomaly_maps(raised, 56) >= anomaly_maps(patches, 56)).all()


@pytest.mark.parametrize("place", [(0, 0), (3, 4), (6, 2), (6, 6)])
def test_the_maps_largest_value_lies_in_the_largest_patch(uniform, place):
    patches = 0.1 * uniform(1, 7, 7)
    patches[0][place] = 1  # one patch that stands out, as a defect should
    row, column = divmod(int(anomaly_maps(patches, 56)[0].argmax()), 56)
    assert (row // 8, column // 8) == place


def test_beta_0_ignores_the_source_and_beta_1_the_target(normal):
    source, target = normal(4, 3), normal(4, 3)
    assert torch.equal(fuse(source, target, 0), target)
    assert torch.equal(fuse(source, target, 1), source)


@pytest.mark.parametrize("beta", [0.0, 0.25, 0.6, 1.0])
def test_fusing_is_the_mean_weighted_by_beta(normal, beta):
    source, target = normal(4, 3), normal(4, 3)
    fused = fuse(source, target, beta)
    assert_close(fused, beta * source + (1 - beta) * target)
    assert (fused >= torch.minimum(source, target) - 1e-15).all()
    assert_close(fuse(source, source, beta), source)


@pytest.mark.parametrize("beta", [-0.1, 1.3, float("nan")])
def test_beta_out_of_range_is_refused(beta):
    with pytest.raises(ConfigError, match=rf"^beta: expected a number in \[0, 1\], got {beta}$"):
        fuse(torch.zeros(2), torch.zeros(2), beta)


def test_tensors_with_other_axes_are_refused():
    with pytest.raises(ShapeError, match=r"^features: expected \(n, c, h, w\), got \(5, 4, 6\)$"):
        patch_scores(torch.zeros(5, 4, 6), torch.zeros(3, 5))
    with pytest.raises(ShapeError, match=r"^bank: expected \(b, c\) with c=5, got \(3, 4\)$"):
        patch_scores(torch.zeros(1, 5, 4, 6), torch.zeros(3, 4))
    for wrong in (image_scores, lambda patches: anomaly_maps(patches, 8)):
        with pytest.raises(ShapeError, match=r"^patch scores: expected \(n, h, w\), got \(4, 6\)$"):
            wrong(torch.zeros(4, 6))
