"""Trunk and heads as one network, and how it scores images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from fsad.engine.scorer import Scorer
from fsad.nn.adapter import CachedExtractor
from fsad.nn.alone import goes_alone
from fsad.nn.anomaly_heads import Heads
from fsad.nn.extractor import PatchExtractor
from fsad.nn.networks import Trunk
from fsad.scores.score_set import Scores

CELL = 8  # pixels, at most


class AnomalyNetwork(nn.Module):
    """A trunk, heads on its maps, and the mean map of some normal images at each scale.

    Args:
        trunk: Makes the maps.
        heads: Score them.
    """

    def __init__(self, trunk: Trunk, heads: Heads) -> None:
        super().__init__()
        self.trunk, self.heads = trunk, heads
        for scale, grid in enumerate(trunk.grids):
            empty = torch.zeros(1, trunk.channels, *grid)
            self.register_buffer(f"reference{scale}", empty)

    @property
    def reference(self) -> list[Tensor]:
        """The mean normal map of each scale, ``(1, c, h, w)``."""
        return [self.get_buffer(f"reference{scale}") for scale in range(self.trunk.scales)]

    def keep_reference(self, images: Tensor) -> None:
        """Keep the mean maps of normal images ``(n, 3, S, S)``, in evaluation mode."""
        with torch.no_grad():
            maps = zip(*(self.trunk(image[None]) for image in images), strict=True)
            for kept, scale in zip(self.reference, maps, strict=True):
                kept.copy_(torch.cat(list(scale)).mean(dim=0, keepdim=True))


class HeadsScorer(Scorer):
    """Scores images by the heads; their cells are the map, which is ours.

    Law (``tests/methods/test_dra.py``): an image's score does not depend on the images beside it.

    Args:
        extractor: The backbone.
        network: Trunk and heads.
        heads: Score in place of the network's own.
    """

    def __init__(
        self, extractor: PatchExtractor, network: AnomalyNetwork, heads: Heads | None = None
    ) -> None:
        super().__init__(CachedExtractor(extractor))
        self.network = network
        self.heads = heads or network.heads

    def score(self, images: Tensor) -> dict[str, Scores]:
        """Score images, part by part."""
        return each_alone(self._score, images)

    def _score(self, images: Tensor) -> dict[str, Scores]:
        said = self.heads(self.network.trunk(images), self.network.reference)
        signed = self.heads.signed(said)
        return {name: Scores(each.cells, each.images) for name, each in signed.items()}


class GradientScorer(HeadsScorer):
    """Scores images by one head, and cells by how much their pixels move that score."""

    def score(self, images: Tensor) -> dict[str, Scores]:
        """Score images; a graph that is exported holds no gradient, and gives no map."""
        if torch.compiler.is_exporting():
            said = self._score(images)["seen"]
            return {"seen": Scores(None, said.images)}
        return each_alone(self._by_gradient, images)

    def _by_gradient(self, images: Tensor) -> dict[str, Scores]:
        with torch.inference_mode(False), torch.enable_grad():
            pixels = images.clone().requires_grad_()
            scores = self._score(pixels)["seen"].images
            (gradient,) = torch.autograd.grad(scores.sum(), pixels)
        height, width = (-(-side // CELL) for side in pixels.shape[2:])
        moved = gradient.abs().sum(dim=1, keepdim=True)
        patches = adaptive_avg_pool2d(moved, (height, width))[:, 0]
        return {"seen": Scores(patches, scores.detach())}


def each_alone(score: Callable[[Tensor], dict[str, Scores]], images: Tensor) -> dict[str, Scores]:
    """Score each image alone on a CPU, as :func:`~fsad.nn.alone.image_by_image` computes."""
    if not goes_alone(images.device) or len(images) <= 1:
        return score(images)
    found = [score(images[row : row + 1]) for row in range(len(images))]
    return {name: _joined([each[name] for each in found]) for name in found[0]}


def _joined(scores: list[Scores]) -> Scores:
    patches = [each.patches for each in scores if each.patches is not None]
    images = torch.cat([each.images for each in scores])
    return Scores(torch.cat(patches) if patches else None, images)
