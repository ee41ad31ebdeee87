"""AU-PRO against a brute force over all thresholds and regions, and the masks it is measured on."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from fsad.errors import ConfigError, DataError, NonFiniteError
from fsad.metrics.masks import dilate, number_regions
from fsad.metrics.pro import area_to, check_finite, pro_curve

LIMITS = (0.3, 0.05, 1.0)


def brute_force(maps, masks, limit):
    """Loop over thresholds, images and regions in float64; clip each segment at the limit."""
    maps, masks = maps.double().numpy(), masks.numpy()
    regions = []
    for image, mask in enumerate(masks):
        numbered, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [maps[image][numbered == number] for number in range(1, count + 1)]
    normal = maps[~masks]
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel()), reverse=True):
        overlap = [np.mean(region >= threshold) for region in regions]
        points.append((np.mean(normal >= threshold), np.mean(overlap)))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 >= limit:
            break
        if x1 > limit:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def aupro(maps, masks, limit):
    """The measure as a whole, from maps and masks."""
    return area_to(limit, *pro_curve(maps, number_regions(masks)))


def blobs(seed, n=3, size=20):
    """Masks with several regions of different size, one touching only by a corner."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(n, size, size, dtype=torch.bool)
    masks[0, 2:5, 2:4] = True
    masks[0, 5:7, 4:9] = True  # joined to the block above by a corner
    masks[0, 15, 15] = True
    masks[1, :, 0] = True
    maps = torch.randn(n, size, size, generator=generator) + 1.5 * masks
    return maps, masks


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-3])
def test_aupro_equals_the_brute_force(limit, scale):
    maps, masks = blobs(seed=0)
    maps = scale * (maps - 30)
    assert aupro(maps, masks, limit) == pytest.approx(brute_force(maps, masks, limit), abs=1e-9)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("levels", [2, 5])
def test_aupro_equals_the_brute_force_with_ties(limit, levels):
    maps, masks = blobs(seed=1)
    tied = (maps * levels / 4).round()
    assert tied.unique().numel() < 20
    assert aupro(tied, masks, limit) == pytest.approx(brute_force(tied, masks, limit), abs=1e-9)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_map_that_ranks_all_anomalous_pixels_first_scores_one(limit):
    maps, masks = blobs(seed=2)
    assert aupro(maps + 100 * masks, masks, limit) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_map_that_ranks_all_anomalous_pixels_last_scores_zero(limit):
    maps, masks = blobs(seed=2)
    assert aupro(maps - 100 * masks, masks, limit) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_constant_map_scores_half_the_limit(limit):
    # One tie takes the curve from (0, 0) straight to (1, 1): PRO = FPR, so limit² / 2 over limit.
    _, masks = blobs(seed=0)
    constant = torch.full(masks.shape, 27.0)
    assert aupro(constant, masks, limit) == pytest.approx(limit / 2, abs=1e-12)


@pytest.mark.parametrize("increasing", [torch.exp, lambda x: 1e3 * x - 7, lambda x: x**3])
def test_an_increasing_function_of_the_map_changes_nothing(increasing):
    maps, masks = blobs(seed=3)
    maps = maps.double()
    assert aupro(increasing(maps), masks, 0.3) == aupro(maps, masks, 0.3)


def test_every_region_weighs_the_same_whatever_its_size():
    masks = torch.zeros(1, 20, 20, dtype=torch.bool)
    masks[0, :10] = True
    masks[0, 19, 19] = True
    found_large, found_small = torch.zeros(2, 1, 20, 20)
    found_large[0, :10] = 1
    found_small[0, 19, 19] = 1
    # From (0, 1/2) the last tie leads straight to (1, 1).
    assert aupro(found_large, masks, 1.0) == pytest.approx(3 / 4)
    assert aupro(found_small, masks, 1.0) == pytest.approx(3 / 4)


def test_area_is_interpolated_where_the_limit_cuts_the_curve():
    fpr = torch.tensor([0.0, 0.2, 0.6, 1.0], dtype=torch.float64)
    pro = torch.tensor([0.0, 0.5, 0.7, 1.0], dtype=torch.float64)
    # Triangle 0.2 · 0.5 / 2, then a trapezoid from 0.5 to 0.6 over 0.2.
    assert area_to(0.4, fpr, pro) == pytest.approx((0.05 + 0.11) / 0.4)


def test_regions_are_joined_across_corners_and_never_across_images():
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[1, 1, 1] = masks[1, 3, 3] = True
    regions = number_regions(masks)
    assert regions[0, 0, 0] == regions[0, 1, 1]
    assert sorted(regions[masks].unique().tolist()) == [1, 2, 3]
    assert (regions[~masks] == 0).all()


@pytest.mark.parametrize("radius", [0, 1, 3, 6])
def test_dilation_reaches_the_euclidean_distance(radius):
    mask = torch.rand(2, 40, 31, generator=torch.Generator().manual_seed(0)) > 0.995
    assert mask.flatten(1).any(1).all()
    expected = np.stack([ndimage.distance_transform_edt(~one) <= radius for one in mask.numpy()])
    assert (dilate(mask, radius).numpy() == expected).all()


def test_dilating_by_more_than_the_image_reaches_all_of_it():
    mask = torch.zeros(1, 3, 5, dtype=torch.bool)
    mask[0, 0, 0] = True
    assert dilate(mask, 9).all()


def test_dilating_leaves_the_mask_itself_as_it_was():
    mask = torch.zeros(1, 9, 9, dtype=torch.bool)
    mask[0, 4, 4] = True
    dilate(mask, 2)
    assert int(mask.sum()) == 1


def test_dilating_nothing_gives_nothing():
    assert not dilate(torch.zeros(1, 30, 30, dtype=torch.bool), 6).any()


@pytest.mark.parametrize("limit", [0, -0.1, 1.5])
def test_a_limit_outside_its_range_is_refused(limit):
    with pytest.raises(ConfigError, match=rf"limit: expected a number in \(0, 1\], got {limit}"):
        aupro(*blobs(seed=0), limit)


def test_soft_masks_are_refused():
    _, masks = blobs(seed=0)
    with pytest.raises(DataError, match=r"masks: expected dtype torch.bool, got torch.float32"):
        number_regions(masks.float())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_cannot_be_ranked_are_refused(bad):
    maps, _ = blobs(seed=0)
    maps[0, 0, 0] = bad
    message = "maps: expected finite scores, got 1 NaN or infinite of 1200"
    with pytest.raises(NonFiniteError, match=message):
        check_finite("maps", maps)
    check_finite("no maps", maps[:0])
