"""What stage checkpoints hold instead of a frozen backbone, and the check of a loss."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from fsad.errors import DataError, NonFiniteError, RunError
from fsad.nn.extractor import PatchExtractor


def backbone_identity(extractor: PatchExtractor) -> dict[str, str]:
    """Return the backbone's name and the sha256 of its weights."""
    return {"name": extractor.name, "sha256": extractor.sha256}


def take_network(stored: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Find the state of what a stage trains in the ``state_dict`` of its checkpoint.

    Checkpoints of earlier versions hold it under other names, among much else: there a tensor is
    known by how its name ends.

    Args:
        stored: The checkpoint's.
        names: Of the network's tensors.

    Returns:
        The network's state.

    Raises:
        DataError: The checkpoint is of another network.
    """
    state = {}
    for name in names:
        found = [key for key in stored if key == f"network.{name}"] or [
            key for key in stored if key.endswith(f".{name}") and "extractor.extractor." not in key
        ]
        if len(found) != 1:
            raise DataError(
                f"checkpoint: expected '{name}' of the network that the stage trains, got "
                f"{len(found)} of that name. Delete the stage's .ckpt to have it start again."
            )
        state[name] = stored[found[0]]
    return state


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
