"""Anomalies made of normal images: what they change, what they leave, where it comes from."""

import re

import numpy as np
import pytest
import torch

from fsad.errors import ShapeError
from fsad.functional.pseudo_anomalies import AREA, GENERATORS, cut_mix, cut_paste, perlin_texture

SIZE = 48


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, SIZE, SIZE, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("seed", range(5))
def test_what_the_mask_leaves_out_is_the_image_itself(name, seed):
    image, donor = pair()
    before = image.clone(), donor.clone()
    changed, mask = GENERATORS[name](image, donor, np.random.default_rng(seed))
    assert torch.equal(changed[:, ~mask], image[:, ~mask])
    assert not torch.equal(changed[:, mask], image[:, mask])
    assert mask.any()
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(image, before[0])
    assert torch.equal(donor, before[1])
    again, _ = GENERATORS[name](image, donor, np.random.default_rng(seed))
    assert torch.equal(again, changed)


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_pastes_a_part_of_the_other_image_and_cutpaste_looks_at_its_own_alone(seed):
    image, donor = torch.zeros(3, SIZE, SIZE), torch.ones(3, SIZE, SIZE)
    changed, mask = cut_mix(image, donor, np.random.default_rng(seed))
    assert torch.equal(changed, mask.expand(3, -1, -1).float())
    image, other = pair()
    one, two = (cut_paste(image, it, np.random.default_rng(seed))[0] for it in (other, other * 0))
    assert torch.equal(one, two)


def test_a_pasted_patch_has_the_published_area():
    for seed in range(50):
        _, mask = cut_paste(*pair(), np.random.default_rng(seed))
        share = mask.float().mean().item()
        assert AREA[0] * 0.7 < share < AREA[1] * 1.3


def test_a_texture_is_mixed_by_one_share_under_its_mask():
    image, donor = torch.full((3, SIZE, SIZE), 0.25), torch.full((3, SIZE, SIZE), 1.0)
    for seed in range(20):
        changed, mask = perlin_texture(image, donor, np.random.default_rng(seed))
        values = changed[:, mask].unique()
        assert len(values) == 1  # (1 - b) A + b x, with A all 1 or, inverted, all 0
        shares = [(values[0] - texture) / (0.25 - texture) for texture in (1.0, 0.0)]
        assert any(-1e-6 <= share <= 0.8 + 1e-6 for share in shares)


@pytest.mark.parametrize("name", GENERATORS)
def test_another_shape_is_refused(name):
    with pytest.raises(
        ShapeError, match=re.escape("image: expected (c, H, W) with c=3, H=8, W=8, got (3, 8, 9)")
    ):
        GENERATORS[name](torch.zeros(3, 8, 9), torch.zeros(3, 8, 9), np.random.default_rng(0))
