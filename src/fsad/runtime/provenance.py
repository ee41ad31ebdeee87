"""Where a result came from: the code's revision, the versions around it, the memory it took."""

import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("fsad", "torch", "lightning", "timm", "torchmetrics", "dhg", "kornia", "numpy")


def _git(folder: Path, *arguments: str) -> str | None:
    """Run git in a folder; return what it printed, or ``None`` if it failed or is not installed."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def revision_of(file: Path) -> str | None:
    """Find the git commit that a source file belongs to.

    Returns:
        The full hash, with ``-dirty`` behind it if tracked files differ from the commit; ``None``
        if git does not know the file, as for a package installed below another checkout.
    """
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None
    return _git(file.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def versions() -> dict[str, str | None]:
    """Return the version of Python and of each package that can move a number, importing none."""
    return dict(_versions())


@lru_cache
def _versions() -> Mapping[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def peak_rss_mb() -> float:
    """Return the most memory this process has held so far, in MB (2^20 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
