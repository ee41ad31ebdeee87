"""The stage that keeps a category's defective references: nothing of it trains."""

from typing import Any

import torch
from torch import Tensor

from fsad.data.datamodule import DataModule
from fsad.data.datasets import RoleImages
from fsad.engine.stage_module import StageModule
from fsad.methods.ideal.scorer import IdealScorer
from fsad.results.feature_samples import RESPONSES, Response

SHOWN = 3  # patches of each direction


class ReferenceModule(StageModule):
    """Look at the defective references once, and keep their anomalous patches.

    Args:
        scorer: Whose references.
    """

    def __init__(self, scorer: IdealScorer) -> None:
        super().__init__(scorer.references, scorer.extractor.extractor)
        self.scorer = scorer
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        """Nothing is optimised."""
        return []

    @torch.no_grad()
    def on_fit_start(self) -> None:
        """Read the references; that their masks mark something was seen to at the start."""
        data: DataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        role = data.task.role("seen_anomalies")
        images = RoleImages(data.reader, [role], data.canvas)
        batches = [images[place] for place in range(len(images))]
        masks = [batch.mask for batch in batches if batch.mask is not None]
        self.scorer.keep_defective([batch.image for batch in batches], masks)

    @torch.no_grad()
    def samples(self, data: DataModule) -> dict[str, Tensor]:  # noqa: ARG002 (they are kept)
        """Return the patches that each direction responds to most."""
        scorer, known = self.scorer, self.scorer.references
        scorer.prepare()  # scores that another run made needed no directions
        height, width = scorer.extractor.extractor.grid
        rows = [
            Response(
                direction,
                int(known.images[patch]),
                int(known.places[patch]) // width / height,
                int(known.places[patch]) % width / width,
                1 / height,
                1 / width,
                cosine,
            )
            for direction, (cosines, patches) in enumerate(
                zip(*(each.tolist() for each in scorer.responses(SHOWN)), strict=True)
            )
            for cosine, patch in zip(cosines, patches, strict=True)
        ]
        return {RESPONSES: torch.tensor(rows, dtype=torch.float64)}

    def training_step(self, batch: Tensor) -> Tensor:  # noqa: ARG002 (Lightning's signature)
        """Do nothing, at no loss: the references are there already."""
        return torch.zeros((), device=self.device)
