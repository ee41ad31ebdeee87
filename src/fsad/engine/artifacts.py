"""What a finished stage leaves on disk: its weights, and what they belong to."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fsad.engine.banks import fill_banks
from fsad.engine.checkpoint import refuse_other_backbone
from fsad.engine.plan import Method, Plan
from fsad.engine.stage import FitStage
from fsad.errors import DataError, MissingDataError
from fsad.nn.extractor import PatchExtractor
from fsad.storage.tensors import read_tensors, write_tensors


@dataclass(frozen=True)
class StageArtifact:
    """A finished stage.

    Attributes:
        state: What it trained.
        backbone: Name and sha256 of the frozen backbone it was trained with.
        seconds: How long it took.
        diagnostics: What it measured of itself.
    """

    state: dict[str, Tensor]
    backbone: dict[str, str]
    seconds: float = 0.0
    diagnostics: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write to one safetensors file, atomically."""
        about = {
            "backbone": self.backbone,
            "seconds": self.seconds,
            "diagnostics": self.diagnostics,
        }
        write_tensors(path, self.state, {"fsad": json.dumps(about)})

    @classmethod
    def read(cls, path: Path) -> "StageArtifact":
        """Read back what :meth:`write` wrote.

        Raises:
            DataError: The file is cut short or foreign.
        """
        try:
            state, metadata = read_tensors(path)
            about = json.loads(metadata["fsad"])
            return cls(state, about["backbone"], about["seconds"], about["diagnostics"])
        except Exception as error:
            raise DataError(
                f"{path}: expected a stage's weights, got a file that cannot be read. "
                "Delete it to have the stage trained again."
            ) from error


def restore(stage: FitStage, path: Path, extractor: PatchExtractor) -> StageArtifact:
    """Put a finished stage's weights into its network.

    Args:
        stage: The stage, untrained.
        path: What it left on disk.
        extractor: The backbone at hand.

    Raises:
        DataError: The file is cut short, foreign, or of other settings.
        RunError: It was trained with another backbone.
    """
    artifact = StageArtifact.read(path)
    refuse_other_backbone(artifact.backbone, extractor)
    try:
        stage.network.load_state_dict(artifact.state)
    except RuntimeError as error:
        raise DataError(
            f"{path}: expected the weights of stage '{stage.name}' with these settings, "
            "got others. Delete it to have the stage trained again."
        ) from error
    return artifact


def trained_plan(
    method: Method, extractor: PatchExtractor, folder: Path, device: torch.device | str
) -> Plan:
    """Lay a finished category out again, with what its stages trained and its banks filled.

    What the scorer prepares is left to the caller.

    Args:
        method: The method.
        extractor: The frozen backbone.
        folder: Where the stages' files and the banks are.
        device: Where to compute.

    Returns:
        A plan whose scorer is in evaluation mode.

    Raises:
        MissingDataError: A file is not there.
        DataError: A file is damaged, foreign, or of other settings.
        RunError: It was trained with another backbone.
    """
    plan = method.plan(extractor)
    for stage in plan.stages:
        path = _there(folder / f"{stage.name}.safetensors")
        if isinstance(stage, FitStage):
            restore(stage, path, extractor)
    plan.scorer.to(device).eval()
    if plan.bank_stage:
        fill_banks(plan.bank_stage, folder / f"{plan.bank_stage.name}.safetensors")
    return plan


def _there(path: Path) -> Path:
    if not path.is_file():
        raise MissingDataError(
            f"{path}: expected a file of a finished run, got none. Copy the whole folder of the "
            "run, or train it again."
        )
    return path
