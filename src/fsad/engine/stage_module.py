"""A LightningModule around a frozen backbone, trained in a stage of its own."""

from collections.abc import Mapping
from typing import Any

from lightning import LightningModule
from torch import Tensor

from fsad.data.batch import ImageBatch
from fsad.data.datamodule import DataModule
from fsad.engine.checkpoint import leave_out_backbone, refuse_other_backbone
from fsad.errors import RunError
from fsad.nn.adapter import AdaptedExtractor
from fsad.nn.memory_bank import MemoryBank
from fsad.scores.scored import PatchScores, Scores


class StageModule(LightningModule):
    """What the pipeline asks of every stage.

    Args:
        extractor: Frozen backbone with its adapters; checkpoints name the backbone instead of
            holding it.

    Attributes:
        reads: The roles whose images a training step consumes, such as ``("source",)`` or
            ``("shots",)``; none, for one that consumes no images.
        sampling: In which order; see :meth:`~fsad.data.datamodule.DataModule.loader`.
        prefix: Put before log keys.
        diagnostics: What the stage measured of itself; ``failed`` tells that it did harm.
    """

    reads: tuple[str, ...] = ()
    sampling: str = "shuffled"

    def __init__(self, extractor: AdaptedExtractor) -> None:
        super().__init__()
        self.extractor = extractor
        self.prefix = ""
        self.diagnostics: dict[str, float | bool] = {}
        self.strict_loading = False  # checkpoints leave the frozen backbone and the banks out

    def trained_state(self) -> dict[str, Tensor]:
        """Return what the stage trained; nothing, for a module that is only tested."""
        return {}

    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`trained_state` returned."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the frozen backbone and the banks out; they are kept by hash and by file."""
        leave_out_backbone(checkpoint, self.extractor.extractor)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint made with another backbone."""
        refuse_other_backbone(checkpoint.get("backbone", {}), self.extractor.extractor)


class ScoringModule(StageModule):
    """The stage whose test loop scores against the banks.

    A subclass writes :meth:`score`, and ``on_test_start`` where there is something to prepare; the
    banks are filled by then. One whose scores are no function of the image writes ``test_step``
    instead, which hands them to ``self.patches.update``; it cannot predict.

    Args:
        extractor: Frozen backbone with its adapters.

    Attributes:
        unit_of_shots: Whether scores are measured in what the shots themselves score, so that
            those of different shots cannot be compared.
    """

    unit_of_shots = False

    def __init__(self, extractor: AdaptedExtractor) -> None:
        super().__init__(extractor)
        self.patches = PatchScores()
        self.source_bank, self.target_bank = MemoryBank("source"), MemoryBank("target")

    def encode(self, images: Tensor, domain: str) -> Tensor:
        """Return patch features of images in [0, 1], float32 ``(n, c, h, w)``."""
        features: Tensor = self.extractor(images, domain)
        return features

    def score(self, images: Tensor) -> Mapping[str, Tensor | Scores]:  # noqa: ARG002
        """Score depth images against the banks.

        Args:
            images: ``(n, 3, H, W)``, values in [0, 1].

        Returns:
            For each domain that the method scores against, ``source``, ``target`` or both, patch
            scores ``(n, h, w)``, higher = more anomalous, or :class:`~fsad.scores.scored.Scores`
            where an image's score is not that of its worst patch. An image's do not depend on the
            others.

        Raises:
            RunError: This method's scores are no function of the image.
        """
        raise RunError(
            f"method: expected one that scores an image by itself, got {type(self).__name__}"
        )

    def test_step(self, batch: ImageBatch) -> None:
        """Score one batch of test images."""
        self.patches.update(batch.index, **self.score(batch.image))

    def look(self, data: DataModule) -> None:
        """Look at the training images before the banks are built; here at none."""

    def bank_views(self, domain: str) -> int:  # noqa: ARG002
        """Return how many views of each image the banks hold."""
        return 1

    def bank_view(self, images: Tensor, domain: str, number: int) -> Tensor:  # noqa: ARG002
        """Return one view of images, from 0; here the images themselves."""
        return images
