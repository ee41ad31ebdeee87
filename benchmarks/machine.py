"""Where a benchmark ran: processor, threads, versions, revision, date."""

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from fsad.runtime.provenance import revision_of

INSTRUCTIONS = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_fp16",
    "avx512_bf16",
    "amx_bf16",
)
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "scipy", "timm", "torchmetrics")


def describe(scale: str, peer_versions: dict[str, str]) -> dict[str, Any]:
    """Describe this machine and what ran on it.

    Args:
        scale: ``full``, ``quick`` or ``tiny``.
        peer_versions: Versions that the peer's interpreter uses, if there is one.
    """
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    versions |= {
        f"peer's {name}" if name in versions else name: found
        for name, found in peer_versions.items()
    }
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "git": revision_of(Path(__file__)) or "no revision",
        "cpu": _processor(),
        "instructions": instructions(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "scale": scale,
        "versions": versions,
    }


def instructions() -> list[str]:
    """Return which of the processor's instructions for matrix products there are."""
    return [name for name in INSTRUCTIONS if name in _cpuinfo().get("flags", "").split()]


def _processor() -> str:
    """Return the processor's model name, with family and model number where the name is vague."""
    fields = _cpuinfo()
    name = fields.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in fields:
        name += f" (family {fields['cpu family']}, model {fields['model']})"
    return name


def _cpuinfo() -> dict[str, str]:
    """Return what Linux says of the first processor; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}
