"""The LightningModules: one that trains a stage, and the test loop."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from fsad.data.batch import ImageBatch
from fsad.data.datamodule import DataModule
from fsad.data.sampling import Mix
from fsad.engine.checkpoint import backbone_identity, refuse_other_backbone, take_network
from fsad.engine.scorer import Control, Scorer
from fsad.nn.extractor import PatchExtractor
from fsad.scores.score_set import TestScores


class StageModule(LightningModule):
    """What trains one stage.

    Args:
        network: What is trained; checkpoints hold its state and nothing else.
        backbone: The frozen features that it sees; checkpoints name it.

    Attributes:
        reads: Set by the run: the roles whose images a training step consumes.
        sampling: Set by the run: in which order; see
            :meth:`~fsad.data.datamodule.DataModule.loader`.
        prefix: Set by the run: put before log keys.
        diagnostics: What the stage measured of itself; ``failed`` tells that it did harm.
    """

    def __init__(self, network: nn.Module, backbone: PatchExtractor) -> None:
        super().__init__()
        self.network = network
        self._backbone = (backbone,)  # no part of the module: it is frozen, and kept by its hash
        self.reads: tuple[str, ...] = ()
        self.sampling: str | Mix = "shuffled"
        self.prefix = ""
        self.diagnostics: dict[str, float | bool] = {}
        self.strict_loading = False  # checkpoints hold the network alone

    def setup(self, stage: str) -> None:  # noqa: ARG002 (Lightning's signature)
        """Train the network, and leave everything else as it is."""
        self.requires_grad_(False)
        self.network.requires_grad_(True)

    def samples(self, data: DataModule) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Sample features for figures, once the category is tested; here none.

        Args:
            data: The category's data.

        Returns:
            Sets of features ``(r, c)`` by name.
        """
        return {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of what is trained, and name the backbone."""
        (backbone,) = self._backbone
        backbone.refuse_training()
        checkpoint["backbone"] = backbone_identity(backbone)
        checkpoint["state_dict"] = {
            f"network.{name}": value for name, value in self.network.state_dict().items()
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint made with another backbone, or of another network."""
        refuse_other_backbone(checkpoint.get("backbone", {}), self._backbone[0])
        state = take_network(checkpoint["state_dict"], self.network.state_dict().keys())
        checkpoint["state_dict"] = {f"network.{name}": value for name, value in state.items()}


class TestLoop(LightningModule):
    """Scores the test images and keeps the scores.

    Args:
        scorer: What scores; its banks are filled when the test starts.
    """

    __test__ = False  # no test of pytest's

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self.scorer = scorer
        self.scores = TestScores()

    def on_test_start(self) -> None:
        """Prepare what every query is compared with."""
        if isinstance(self.scorer, Control):
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self.scorer.read(data)
        with torch.no_grad():
            self.scorer.prepare()

    def test_step(self, batch: ImageBatch) -> None:
        """Score one batch of test images."""
        if isinstance(self.scorer, Control):
            parts = self.scorer.score_at(batch.index)
        else:
            parts = self.scorer.parts(batch.image)
        self.scores.update(batch.index, parts)
