"""Networks that a method trains, starting from a backbone: they belong to the method."""

from copy import deepcopy
from typing import Self

import torch
from torch import Tensor, nn

from fsad.errors import check_at_least
from fsad.nn.extractor import PatchExtractor


class Trunk(nn.Module):
    """Feature maps of images at several scales, by a backbone's copy that trains or by itself.

    Laws (``tests/nn/test_networks.py``):

    * Before training, the features are the backbone's own.
    * A trained trunk leaves the backbone as it was: its weights, and so their fingerprint.
    * A frozen one has no weights of its own and stays in evaluation mode.

    Args:
        extractor: The backbone.
        trained: Whether a copy of it trains, batch norm included; else it is used as it is.
        scales: How many maps: of the images, and of those halved again and again.

    Raises:
        ConfigError: ``scales`` is below 1.

    Source:
        Pang et al. (arXiv 2108.00462) and DRA (CVPR 2022): a trained ResNet-18 and two scales.
    """

    def __init__(self, extractor: PatchExtractor, trained: bool, scales: int) -> None:
        super().__init__()
        self.scales = check_at_least("scales", scales, 1)
        self.body: PatchExtractor | None = None
        self._extractor = (extractor,)  # no part of the module: it is frozen, and kept by its hash
        if trained:
            store, extractor.store = extractor.store, None  # what it holds is the backbone's
            try:
                self.body = deepcopy(extractor)
            finally:
                extractor.store = store
            self.body.net.requires_grad_(True)
            # A step of an EfficientNet takes a third less on a CPU; one of a ResNet as long.
            self.body.net.to(memory_format=torch.channels_last)
            if self.body.autocast == torch.float16:
                self.body.autocast = None  # its gradients would need their loss scaled

    @property
    def grids(self) -> list[tuple[int, int]]:
        """Height and width of the maps, scale by scale."""
        (extractor,) = self._extractor
        if not extractor.any_size:
            return [extractor.grid] * self.scales
        sides = [extractor.grid]
        for _ in range(1, self.scales):
            height, width = sides[-1]
            sides.append((-(-height // 2), -(-width // 2)))  # strided convolutions round up
        return sides

    @property
    def channels(self) -> int:
        """Channels of the maps."""
        return self._extractor[0].channels

    def train(self, mode: bool = True) -> Self:
        """Choose training or evaluation mode, of batch norm too where the network trains."""
        super().train(mode)
        if self.body is not None:
            self.body.net.train(mode)  # the extractor around it pins evaluation
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Extract feature maps.

        Args:
            images: ``(n, 3, S, S)``, values in [0, 1].

        Returns:
            A map ``(n, c, h, w)`` for each scale, the finest first.
        """
        if self.body is not None:
            body = self.body
            return [body.at_scale(images, "target", scale) for scale in range(self.scales)]
        (extractor,) = self._extractor
        # The score's gradient at the pixels goes through it, and its weights ask for none.
        return [extractor.at_scale(images, "target", scale) for scale in range(self.scales)]
