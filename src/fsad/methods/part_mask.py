"""The part mask as a method: the control. It scores the shape of the part, and has no model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from fsad.engine.plan import Plan
from fsad.engine.scorer import Control
from fsad.engine.settings import MAPS, SCORES, Affects, affecting
from fsad.functional.scoring import blur, image_scores
from fsad.methods.shared.pixel_method import PixelMethod
from fsad.nn.adapter import CachedExtractor
from fsad.nn.extractor import PatchExtractor
from fsad.scores.score_set import Scores

if TYPE_CHECKING:
    from fsad.data.datamodule import DataModule


class PartMaskScorer(Control):
    """Scores a pixel 1 on the part and 0 beside it, and an image by its blurred mask's highest.

    Args:
        extractor: Any; it is not asked.
        sigma: The blur, pixels.
    """

    def __init__(self, extractor: CachedExtractor, sigma: float) -> None:
        super().__init__(extractor)
        self.sigma = sigma

    def read(self, data: "DataModule") -> None:
        """Find the parts of the test images, as the metrics do."""
        self._parts = torch.cat([truth.part for truth in data.truth_dataloader()])

    def score_at(self, index: Tensor) -> dict[str, Scores]:
        """Score test images."""
        parts = self._parts[index.cpu()].float()
        return {"target": Scores(parts, image_scores(blur(parts, self.sigma)))}


@dataclass(frozen=True)
class PartMask(PixelMethod):
    """The method: what every other method's table has as its control, number for number.

    The settings are :class:`~fsad.methods.shared.pixel_method.PixelMethod`'s.
    """

    name = "part_mask"
    modalities = ("depth",)

    sigma: Annotated[float, Affects(SCORES, MAPS)] = 4.0  # an image's score is of its blurred mask

    def plan(self, extractor: PatchExtractor) -> Plan:
        """Lay out one category's run: nothing trains."""
        scorer = PartMaskScorer(CachedExtractor(extractor), self.sigma)
        return Plan([], scorer, sigma=self.sigma, scores_depend=affecting(self, SCORES))
