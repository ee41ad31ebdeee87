"""The part mask as a method: the control. It scores the shape of the part, and has no model."""

from pathlib import Path
from typing import Any

import torch

from fsad.data.batch import ImageBatch
from fsad.engine.bank_builder import MemoryBankBuilder
from fsad.engine.plan import Plan
from fsad.engine.stage_module import ScoringModule
from fsad.functional.scoring import blur, image_scores
from fsad.methods.shared.pixel_method import PixelMethod
from fsad.nn.adapter import AdaptedExtractor
from fsad.nn.extractor import PatchExtractor
from fsad.scores.scored import Scores


class PartMaskModule(ScoringModule):
    """Scores a pixel 1 on the part and 0 beside it, and an image by its blurred mask's highest.

    Args:
        extractor: Any; it is not asked.
        sigma: The blur, pixels.
    """

    def __init__(self, extractor: AdaptedExtractor, sigma: float) -> None:
        super().__init__(extractor)
        self.sigma = sigma

    def on_test_start(self) -> None:
        """Find the parts of the test images, as the metrics do."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        self._parts = torch.cat([truth.part for truth in data.truth_dataloader()])

    def test_step(self, batch: ImageBatch) -> None:
        """Score one batch of test images."""
        parts = self._parts[batch.index.cpu()].float()
        self.patches.update(
            batch.index, target=Scores(parts, image_scores(blur(parts, self.sigma)))
        )


class PartMask(PixelMethod):
    """The method: what every other method's table has as its control, number for number.

    The settings are :class:`~fsad.methods.shared.pixel_method.PixelMethod`'s.
    """

    name = "part_mask"

    def plan(self, extractor: PatchExtractor, banks_path: Path) -> Plan:
        """Lay out one category's run: nothing trains."""
        return Plan(
            [],
            PartMaskModule(AdaptedExtractor.plain(extractor), self.sigma),
            MemoryBankBuilder(banks_path, {}),
            beta=0.0,
            sigma=self.sigma,
            banks_depend={},
            scores_depend={"sigma": self.sigma},
        )
