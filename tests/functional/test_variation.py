"""Normal variation: the laws of its erasure, and a plain loop that does the same."""

import re

import pytest
import torch

from fsad.errors import ConfigError, ShapeError
from fsad.functional.variation import Matches, erase_normal_variation, match_normal

CHANNELS, ROWS, PATCHES, K, RANK = 20, 60, 15, 12, 4


@pytest.fixture(params=range(5), ids=lambda seed: f"seed{seed}")
def patches(request):
    """Features ``(p, c)`` and normal ones ``(b, c)`` that vary along some directions."""
    generator = torch.Generator().manual_seed(request.param)
    options = {"generator": generator, "dtype": torch.float64}
    scales = torch.linspace(3, 0.1, CHANNELS, dtype=torch.float64)
    normal = torch.randn(ROWS, CHANNELS, **options) * scales + 2
    return torch.randn(PATCHES, CHANNELS, **options) * scales + 2, normal


def loop(features, normal, k=K, rank=RANK, strength=0.8):
    """The equations patch by patch, with a covariance of c x c each; and U of each patch."""
    residuals, axes = [], []
    for feature in features:
        cosine = torch.tensor(
            [float(feature @ row / (feature.norm() * row.norm())) for row in normal],
            dtype=features.dtype,
        )
        order = cosine.argsort(descending=True)[:k]
        weights = cosine[order].exp() / cosine[order].exp().sum()
        centre = sum(weight * normal[row] for weight, row in zip(weights, order, strict=True))
        apart = normal[order] - centre
        covariance = apart.T @ torch.diag(weights) @ apart
        _, vectors = torch.linalg.eigh(covariance)
        principal = vectors[:, -rank:]
        residual = feature - centre
        residuals.append(residual - strength * principal @ (principal.T @ residual))
        axes.append(principal)
    return torch.stack(residuals), torch.stack(axes)


def erased(features, normal, **options):
    matches = match_normal(features, normal, K)
    return erase_normal_variation(features, normal, matches, **{"rank": RANK, **options})


def test_it_equals_a_plain_loop_with_an_eigendecomposition_of_each_patch(patches):
    expected, _ = loop(*patches)
    torch.testing.assert_close(erased(*patches), expected, rtol=0, atol=1e-5)


def test_chunks_change_nothing(patches, monkeypatch):
    whole = erased(*patches)
    monkeypatch.setattr("fsad.functional.variation.chunk_size", lambda *_: 4)
    torch.testing.assert_close(erased(*patches), whole)


def test_with_full_strength_nothing_is_left_in_the_span_of_the_variation(patches):
    _, axes = loop(*patches)
    left = torch.einsum("pcr,pc->pr", axes, erased(*patches, strength=1.0))
    assert left.abs().max() < 1e-9


def test_with_part_of_the_strength_that_part_is_gone_in_the_span_and_nothing_beside_it(patches):
    _, axes = loop(*patches)
    plain, part = erased(*patches, strength=0.0), erased(*patches, strength=0.8)
    within = torch.einsum("pcr,pc->pr", axes, plain)
    torch.testing.assert_close(torch.einsum("pcr,pc->pr", axes, part), 0.2 * within)
    beside = plain - torch.einsum("pcr,pr->pc", axes, within)
    after = torch.einsum("pcr,pc->pr", axes, part)
    torch.testing.assert_close(part - torch.einsum("pcr,pr->pc", axes, after), beside)


def test_the_directions_that_are_erased_are_orthonormal_and_as_many_as_asked_for(patches):
    """A feature's residual is f - c - strength P (f - c): move f alone, and P shows itself."""
    features, normal = patches
    matches = match_normal(features, normal, K)
    feature = features[:1].expand(CHANNELS, -1)
    moved = feature + torch.eye(CHANNELS, dtype=features.dtype)
    one = Matches(*(part[:1].expand(CHANNELS, -1) for part in matches))
    options = {"rank": RANK, "strength": 1.0}
    base = erase_normal_variation(feature, normal, one, **options)
    kept = erase_normal_variation(moved, normal, one, **options) - base
    projection = torch.eye(CHANNELS, dtype=features.dtype) - kept  # U U^T
    torch.testing.assert_close(projection, projection.T)
    torch.testing.assert_close(projection @ projection, projection)  # so that U^T U = I
    assert projection.trace() == pytest.approx(RANK)


@pytest.mark.parametrize("nothing", [{"strength": 0.0}, {"rank": 0}])
def test_without_strength_or_rank_it_is_the_plain_residual(patches, nothing):
    features, normal = patches
    matches = match_normal(features, normal, K)
    weights = matches.cosine.softmax(dim=1)
    centre = (weights[:, :, None] * normal[matches.rows]).sum(dim=1)
    torch.testing.assert_close(erased(*patches, **nothing), features - centre)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_patch_that_its_matches_equal_has_no_residual(dtype):
    row = torch.linspace(1, 3, CHANNELS, dtype=dtype)
    residual = erased(row.expand(3, -1), row.expand(ROWS, -1))
    assert torch.equal(residual, torch.zeros(3, CHANNELS, dtype=dtype))


def test_a_small_residual_that_is_more_than_rounding_stays():
    row = torch.linspace(1, 3, CHANNELS)
    features = (row + 1e-4).expand(3, -1)
    residual = erased(features, row.expand(ROWS, -1))
    torch.testing.assert_close(residual, torch.full((3, CHANNELS), 1e-4), rtol=1e-2, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matches_that_are_all_alike_erase_nothing(dtype):
    row = torch.linspace(1, 3, CHANNELS, dtype=dtype)
    feature = row.flip(0)[None]
    residual = erased(feature, row.expand(ROWS, -1), strength=1.0)
    torch.testing.assert_close(residual, feature - row)


def test_the_order_of_the_normal_patches_changes_nothing(patches):
    features, normal = patches
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(erased(features, normal[order]), erased(features, normal))
    one, other = (match_normal(features, it, K).similarity for it in (normal, normal[order]))
    torch.testing.assert_close(one, other)


def test_fewer_normal_patches_than_neighbours_are_all_taken(patches):
    features, normal = patches
    expected, _ = loop(features, normal[:5], k=5)
    torch.testing.assert_close(erased(features, normal[:5]), expected)


def test_similarity_is_that_of_the_nearest_normal_patch_whatever_the_length(patches):
    features, normal = patches
    cosine = torch.nn.functional.cosine_similarity(features[:, None], normal[None], dim=2)
    found = match_normal(3 * features, normal, K).similarity
    torch.testing.assert_close(found, (1 + cosine.amax(dim=1)) / 2)
    torch.testing.assert_close(
        match_normal(normal, normal, K).similarity, torch.ones(ROWS).double()
    )


def test_what_does_not_fit_is_refused(patches):
    features, normal = patches
    message = re.escape("normal: expected (b, c) with c=20, got (60, 3)")
    with pytest.raises(ShapeError, match=message):
        match_normal(features, normal[:, :3])
    with pytest.raises(ConfigError, match=r"neighbours: expected a whole number of at least 1"):
        match_normal(features, normal, 0)
    with pytest.raises(ConfigError, match=r"strength: expected a number in \[0, 1\], got 1\.5"):
        erased(features, normal, strength=1.5)
    with pytest.raises(ConfigError, match=r"rank: expected a whole number of at least 0"):
        erased(features, normal, rank=-1)
