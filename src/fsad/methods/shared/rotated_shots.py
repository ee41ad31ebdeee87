"""A scorer whose bank holds the shots at several angles: parts may lie in any orientation."""

from torch import Tensor

from fsad.engine.scorer import BankScorer
from fsad.functional.rotation import rotate
from fsad.nn.adapter import CachedExtractor


class RotatedShotsScorer(BankScorer):
    """Sees each shot at angles that are evenly spread over a turn, and a source image as it is.

    Args:
        extractor: The frozen backbone.
        rotations: How many angles, 1 or more.
        domains: Of the banks, ``target`` among them.
    """

    def __init__(self, extractor: CachedExtractor, rotations: int, *domains: str) -> None:
        super().__init__(extractor, *domains)
        self.rotations = rotations

    def augmentations(self, domain: str) -> int:
        """Return how many views of each image the bank holds: the angles of a shot."""
        return self.rotations if domain == "target" else 1

    def augment(self, images: Tensor, domain: str, number: int) -> Tensor:
        """Rotate images by one of the angles, from 0."""
        return rotate(images, 360 * number / self.augmentations(domain))
