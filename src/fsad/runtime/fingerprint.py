"""Which code is running, and on what: what it kept on disk is of no use to other code."""

import platform
from functools import lru_cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import torch

PACKAGE = Path(__file__).parents[1]
"""The folder of this package's sources."""
PACKAGES = (
    "torch",
    "lightning",
    "tifffile",
    "torchvision",
    "timm",
    "dhg",
    "numpy",
    "scipy",
    "Pillow",
    "perlin-numpy",
    "kornia",
)


def machine(device: torch.device, threads: int | None = None) -> list[str | int]:
    """Tell what decides the last bits of a sum: the processor, and the threads that share it.

    Args:
        device: Where it is computed.
        threads: How many share it; by default as many as this process has.
    """
    if device.type == "cuda":
        return [torch.cuda.get_device_name(device)]
    threads = torch.get_num_threads() if threads is None else threads
    return [platform.machine(), torch.backends.cpu.get_cpu_capability(), threads]


@lru_cache
def code_digest(part: str = "") -> str:
    """Digest this package's sources and the versions of the packages that move its numbers.

    Any change of a source file gives another digest: something may be computed once too often, but
    a cache never answers for code that is gone.

    Args:
        part: A sub-package, for what depends on nothing else, for example ``nn``.

    Returns:
        64 hexadecimal digits.

    Note:
        Reads every source file once per process, some milliseconds.
    """
    digest = sha256()
    for path in sorted((PACKAGE / part).rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    for name in PACKAGES:
        digest.update(f"{name} {metadata.version(name)}\n".encode())
    return digest.hexdigest()
