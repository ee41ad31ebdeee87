"""Position embeddings stretched as DINOv2's authors do it, against the sum in float64."""

import numpy as np
import pytest
import torch
from small_backbones import vit
from torch.testing import assert_close

from fsad.errors import ConfigError
from fsad.nn.positions import stretch_positions


def keys(distance, a=-0.75):
    """Keys' cubic kernel."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def weights(count, side):
    """What each of ``count`` places takes from each of ``side``; ends are repeated outwards."""
    scale = (count + 0.1) / side
    matrix = np.zeros((count, side))
    for place in range(count):
        centre = (place + 0.5) / scale - 0.5
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            matrix[place, min(max(tap, 0), side - 1)] += keys(centre - tap)
    return matrix


@pytest.mark.parametrize("grid", [(16, 16), (5, 5), (32, 32), (12, 40)])
def test_it_is_the_authors_sum(generator, grid):
    embedding = torch.randn(1, 1 + 37**2, 6, generator=generator, dtype=torch.float64)
    found = stretch_positions({"pos_embed": embedding}, grid)["pos_embed"]
    plane = embedding[0, 1:].reshape(37, 37, 6).numpy()
    rows, columns = (weights(count, 37) for count in grid)
    known = np.einsum("ij,kl,jlc->ikc", rows, columns, plane).reshape(1, -1, 6)
    assert_close(found[:, :1], embedding[:, :1])
    assert_close(found[:, 1:].numpy(), known, atol=2e-5, rtol=0)  # float32, and its scale too


def test_what_fits_or_is_no_square_stays(generator):
    embedding = torch.randn(1, 1 + 49, 4, generator=generator)
    assert stretch_positions({"pos_embed": embedding}, (7, 7))["pos_embed"] is embedding
    odd = {"pos_embed": embedding[:, :45]}
    assert stretch_positions(odd, (7, 7)) == odd
    assert stretch_positions({"other": embedding}, (7, 7)) == {"other": embedding}


def test_a_backbone_takes_either_rule_and_they_differ(tmp_path):
    small = vit()
    path = str(tmp_path / "weights.pth")
    torch.save(small.net.state_dict(), path)
    larger = {"image_size": 96, "pretrained": True, "weights_path": path}
    timms, authors = (vit(**larger, position_resize=rule) for rule in ("timm", "published"))
    known = stretch_positions(small.net.state_dict(), (12, 12))["pos_embed"]
    assert_close(authors.net.pos_embed, known)
    assert not torch.allclose(timms.net.pos_embed, known, atol=1e-4)
    assert authors.sha256 != timms.sha256  # so that no feature of one is taken for the other's
    with pytest.raises(ConfigError, match=r"backbone\.position_resize: expected one of published"):
        vit(position_resize="bilinear")
