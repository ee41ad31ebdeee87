"""Tiny datasets on disk, one per layout, and a record of the files that a reader opens."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pair_folders import write_eyecandies, write_mvtec3d


@pytest.fixture
def mvtec3d(tmp_path: Path) -> Path:
    """Root of a generated dataset with one category, ``bolt``."""
    write_mvtec3d(tmp_path / "mvtec3d")
    return tmp_path / "mvtec3d"


@pytest.fixture
def eyecandies(tmp_path: Path) -> Path:
    """Root of a generated dataset with one category, ``Candy``."""
    write_eyecandies(tmp_path / "eyecandies")
    return tmp_path / "eyecandies"


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """``real_data("mvtec3d")``: root of a real dataset, or skip."""

    def root(name: str) -> Path:
        folder = os.environ.get("FSAD_REAL_DATA")
        if folder is None:
            pytest.skip("FSAD_REAL_DATA is not set")
        return Path(folder) / name

    return root
