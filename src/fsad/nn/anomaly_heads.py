"""Heads that make image scores of feature maps: the worst cells, the mean, the residual."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, interpolate, linear, pad

from fsad.functional.scoring import top_count, top_mean
from fsad.runtime.randomness import seeded

TOP = 0.1
"""Share of a map's cells whose mean is an image's score."""
HIDDEN = 256  # of the holistic head
Maps = Sequence[Tensor]


class HeadScores(NamedTuple):
    """What a head says of some images; higher = more of what it looks for.

    Attributes:
        images: ``(n,)``, 0 or more.
        cells: ``(n, h, w)``; None of a head that sees no cells.
    """

    images: Tensor
    cells: Tensor | None


class TopKHead(nn.Module):
    r"""Scores an image by its worst cells.

    .. math:: s = \operatorname{mean}\, \operatorname{top}_{10\,\%}\, |w \cdot f_{ij} + b|

    Law (``tests/nn/test_anomaly_heads.py``): of 14 x 14 cells the 19 worst count, of 7 x 7 the 4.

    Args:
        channels: Of the features.

    Source:
        Pang et al. (arXiv 2108.00462), section 3.2; DRA's heads for seen and pseudo anomalies.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, features: Tensor) -> HeadScores:
        """Score maps ``(n, c, h, w)``."""
        # One channel out of a product: a convolution's gradient takes several times as long.
        weight, bias = self.conv.weight.flatten(1), self.conv.bias
        assert bias is not None
        cells = (weight @ features.flatten(2) + bias).abs().view(-1, *features.shape[2:])
        return HeadScores(top_mean(cells, TOP), cells)


class HolisticHead(nn.Module):
    """Scores an image by its mean feature, through one hidden layer.

    Args:
        channels: Of the features.

    Source:
        DRA (CVPR 2022), section 3.3: it learns normality, so that 0 is anomalous.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(channels, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, features: Tensor) -> HeadScores:
        """Score maps ``(n, c, h, w)``."""
        mean = features.mean(dim=(2, 3))
        return HeadScores(self.out(self.hidden(mean).relu())[:, 0].abs(), None)


class ResidualHead(nn.Module):
    """Scores an image by the worst cells of its difference to a normal map.

    Laws (``tests/nn/test_anomaly_heads.py``):

    * Every weight has a gradient from the start.
    * Scores and gradients are those of the whole map, though all but the worst cells are left out
      of the gradient where batch norm is still.

    Args:
        channels: Of the features.

    Note:
        A gradient of the worst tenth costs a tenth of the convolution, and twice that for its
        gradient; that of all cells, as much as the whole convolution again.

    Source:
        DRA (CVPR 2022), section 3.4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.top = TopKHead(channels)

    def forward(self, features: Tensor, reference: Tensor) -> HeadScores:
        """Score maps ``(n, c, h, w)`` beside the mean normal one, ``(1, c, h, w)``."""
        residual = reference - features
        if self.norm.training or not torch.is_grad_enabled():  # its statistics are of all cells
            return self._all(residual)
        with torch.no_grad():
            cells = self._all(residual).cells
            assert cells is not None
            flat = cells.flatten(1)
            worst = flat.topk(top_count(TOP, flat.shape[1]), dim=1).indices
        return HeadScores(self._some(residual, worst).mean(dim=1), cells)

    def _all(self, residual: Tensor) -> HeadScores:
        scores: HeadScores = self.top(self.norm(self.conv(residual)).relu())
        return scores

    def _some(self, residual: Tensor, places: Tensor) -> Tensor:
        """Score some cells alone, ``(n, k)``, by their places in the map."""
        near = surroundings(residual, places).flatten(0, 1)
        hidden = linear(near, self.conv.weight.flatten(1), self.conv.bias)
        norm = self.norm
        hidden = batch_norm(
            hidden, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
        scores = linear(hidden.relu(), self.top.conv.weight.flatten(1), self.top.conv.bias)
        return scores.abs().view(places.shape)


def surroundings(maps: Tensor, places: Tensor) -> Tensor:
    """Take the 3 x 3 cells around some cells, as a convolution's weights count them.

    Args:
        maps: ``(n, c, h, w)``; zeros lie around them.
        places: Of the cells, row by row, ``(n, k)``.

    Returns:
        ``(n, k, 9 c)``.
    """
    channels, _, width = maps.shape[1:]
    padded = pad(maps, (1, 1, 1, 1)).flatten(2)
    corners = places // width * (width + 2) + places % width
    steps = torch.arange(3, device=places.device)
    steps = (steps[:, None] * (width + 2) + steps).flatten()
    spots = (corners[:, :, None] + steps).flatten(1)
    found = padded.gather(2, spots[:, None].expand(-1, channels, -1))
    return found.view(*found.shape[:2], -1, 9).transpose(1, 2).flatten(2)


class Heads(nn.Module):
    """Some heads on the maps of several scales: each one's score is the mean over the scales.

    Attributes:
        parts: The names of the parts of the score, in order.
        signs: Of each part: 1 where a higher score of its head is more anomalous, else -1.
    """

    parts: tuple[str, ...]
    signs: tuple[int, ...]

    def forward(self, features: Maps, reference: Maps) -> dict[str, HeadScores]:
        """Score images.

        Args:
            features: Maps ``(n, c, h, w)``, scale by scale, the finest first.
            reference: The mean map of normal images at each scale, ``(1, c, h, w)``.

        Returns:
            What each head says, by the name of its part; cells have the finest grid.
        """
        found: dict[str, list[HeadScores]] = {name: [] for name in self.parts}
        for maps, normal in zip(features, reference, strict=True):
            for name, scores in self.at(maps, normal).items():
                found[name].append(scores)
        return {name: _mean(scores) for name, scores in found.items()}

    def at(self, features: Tensor, reference: Tensor) -> Mapping[str, HeadScores]:
        """Score maps of one scale."""
        raise NotImplementedError

    def signed(self, said: Mapping[str, HeadScores]) -> dict[str, HeadScores]:
        """Turn what the heads say into parts of a score: higher = more anomalous."""
        return {
            name: said[name]._replace(images=sign * said[name].images)
            for name, sign in zip(self.parts, self.signs, strict=True)
        }


class DeviationHeads(Heads):
    """DevNet's one head.

    Args:
        channels: Of the features.
        seed: Of the weights.
    """

    parts, signs = ("seen",), (1,)

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        with seeded(seed, "heads"):
            self.seen = TopKHead(channels)

    def at(self, features: Tensor, reference: Tensor) -> Mapping[str, HeadScores]:  # noqa: ARG002
        """Score maps of one scale."""
        return {"seen": self.seen(features)}


class DisentangledHeads(Heads):
    """DRA's four heads: seen and pseudo anomalies, residuals, and normality.

    Args:
        channels: Of the features.
        seed: Of the weights.

    Source:
        DRA (CVPR 2022), section 3.
    """

    parts, signs = ("seen", "pseudo", "residual", "normality"), (1, 1, 1, -1)

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        with seeded(seed, "heads"):
            self.seen, self.pseudo = TopKHead(channels), TopKHead(channels)
            self.residual, self.normality = ResidualHead(channels), HolisticHead(channels)

    def at(self, features: Tensor, reference: Tensor) -> Mapping[str, HeadScores]:
        """Score maps of one scale."""
        return {
            "seen": self.seen(features),
            "pseudo": self.pseudo(features),
            "residual": self.residual(features, reference),
            "normality": self.normality(features),
        }


def _mean(scales: Sequence[HeadScores]) -> HeadScores:
    """Return the mean over scales, cells on the finest grid."""
    images = torch.stack([scale.images for scale in scales]).mean(dim=0)
    maps = [scale.cells for scale in scales if scale.cells is not None]
    if not maps:
        return HeadScores(images, None)
    grid = maps[0].shape[1:]
    wide = [
        cells
        if cells.shape[1:] == grid
        else interpolate(cells[:, None], grid, mode="bilinear")[:, 0]
        for cells in maps
    ]
    return HeadScores(images, torch.stack(wide).mean(dim=0))
