"""What stage checkpoints hold instead of a frozen backbone, and the check of a loss."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fsad.errors import DataError, NonFiniteError, RunError
from fsad.nn.extractor import PatchExtractor


def backbone_identity(extractor: PatchExtractor) -> dict[str, str]:
    """Return the backbone's name and the sha256 of its weights."""
    return {"name": extractor.name, "sha256": extractor.sha256}


def leave_out_backbone(checkpoint: dict[str, Any], extractor: PatchExtractor) -> None:
    """Keep what is trained in a Lightning checkpoint, and name the backbone and the banks.

    The banks have a file of their own.

    Raises:
        RunError: The backbone is not frozen, so that leaving it out would lose what it learnt.
    """
    extractor.refuse_training()
    checkpoint["backbone"] = backbone_identity(extractor)
    checkpoint["state_dict"] = {
        name: value
        for name, value in checkpoint["state_dict"].items()
        if not name.startswith(("extractor.extractor.", "source_bank.", "target_bank."))
    }


def refuse_other_backbone(stored: Mapping[str, str], extractor: PatchExtractor) -> None:
    """Compare a stored identity with the backbone at hand.

    Raises:
        RunError: They differ.
    """
    ours = backbone_identity(extractor)
    for key in ("name", "sha256"):
        if stored.get(key) != ours[key]:
            raise RunError(
                f"backbone: expected the run's own, {key} '{stored.get(key)}', got '{ours[key]}'. "
                "Pass the same backbone and backbone.weights_path as the run had."
            )


def check_readable(path: Path) -> Path:
    """Return the path of an unfinished stage's checkpoint if it can be loaded.

    Raises:
        DataError: It cannot.
    """
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(
            f"{path}: expected a stage's checkpoint, got a file that cannot be read. "
            "Delete it to have the stage start again."
        ) from error
    return path


def check_loss(name: str, loss: Tensor, step: int) -> Tensor:
    """Return the loss if it is finite.

    Raises:
        NonFiniteError: It is not.
    """
    if not bool(loss.isfinite()):
        raise NonFiniteError(
            f"{name}: expected a finite number, got {float(loss.detach())} at step {step}. "
            "Lower the stage's learning rate or the perturbation's std."
        )
    return loss
