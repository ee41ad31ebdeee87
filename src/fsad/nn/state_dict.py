"""State dicts: read safely from a file, checked against a network, fingerprinted."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fsad.errors import WeightsError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running any code the file may carry.

    Args:
        path: A ``.safetensors`` file, or a file of ``torch.save``. A checkpoint that keeps its
            state dict under ``state_dict`` or ``model`` is unwrapped.

    Returns:
        Tensors by key, on the CPU.

    Raises:
        WeightsError: The file is not there, cannot be read, or holds anything but tensors.
    """
    if not path.is_file():
        raise WeightsError(
            f"weights '{path}': expected a file, got none there. Correct backbone.weights_path."
        )
    try:
        state: Any
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or crafted file can raise anything
        raise WeightsError(
            f"weights '{path}': expected a file of tensors only, got one that cannot be read "
            f"safely ({type(error).__name__}). Save it with safetensors, or with "
            "torch.save(model.state_dict(), FILE)."
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not all(map(_is_entry, state.items())):
        raise WeightsError(
            f"weights '{path}': expected a state dict, got something else. "
            "Save it with torch.save(model.state_dict(), FILE)."
        )
    return state


def _is_entry(item: tuple[object, object]) -> bool:
    key, value = item
    return isinstance(key, str) and isinstance(value, Tensor)


def load_weights(
    net: nn.Module,
    state: Mapping[str, Tensor],
    *,
    path: Path,
    architecture: str,
    unused: tuple[str, ...] = (),
) -> None:
    """Copy a state dict into a network of the same architecture.

    Args:
        net: The network to fill.
        state: What :func:`read_weights` gave.
        path: The file, for the message.
        architecture: What ``net`` is called, for the message.
        unused: Prefixes of the keys ``net`` has no use for, such as a classifier's.

    Raises:
        WeightsError: A key is missing, has another shape, is unknown, or is not finite in the
            network's own precision.
    """
    remedy = "Choose the backbone that the file was made for, or another file."
    filled = net.state_dict()
    for key, ours in filled.items():
        theirs = state.get(key)
        if theirs is None and key.endswith("num_batches_tracked"):
            continue  # old files lack it, and a frozen batch norm does not read it
        if theirs is None or theirs.shape != ours.shape:
            got = "no such key" if theirs is None else f"shape {tuple(theirs.shape)}"
            raise WeightsError(
                f"weights '{path}': expected {key} of shape {tuple(ours.shape)} "
                f"for '{architecture}', got {got}. {remedy}"
            )
        bad = ours.numel() - int(torch.isfinite(theirs.to(ours.dtype)).sum())
        if bad:
            raise WeightsError(
                f"weights '{path}': expected finite numbers in {key}, "
                f"got {bad} NaN or infinite of {ours.numel()}. Fetch the file again, or another."
            )
        filled[key] = theirs
    for key, theirs in state.items():
        if key not in filled and not key.startswith(unused):
            raise WeightsError(
                f"weights '{path}': expected only keys of '{architecture}', "
                f"got {key} of shape {tuple(theirs.shape)}. {remedy}"
            )
    net.load_state_dict(filled)


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a state dict's keys and bytes, as 64 hexadecimal digits.

    Laws: the order of the keys, the file format and the device change nothing; any value does.

    Args:
        state: Tensors by key.
    """
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        # flat first: a tensor without axes cannot be viewed as bytes
        flat = state[key].detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
