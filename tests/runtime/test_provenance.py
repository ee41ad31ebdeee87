"""The code's revision, the versions around it and the memory of this process."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from fsad.runtime.provenance import peak_rss_mb, revision_of, versions


def git(folder, *arguments):
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    for variable in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(variable)  # set where tests run inside a git hook
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--no-verify", "-m", "first")
    return tmp_path


def test_the_revision_is_the_commit_and_says_when_the_code_differs(checkout):
    clean = revision_of(checkout / "code.py")
    assert len(clean) == 40
    (checkout / "code.py").write_text("x = 2\n")
    assert revision_of(checkout / "code.py") == f"{clean}-dirty"


def test_a_file_that_git_does_not_know_has_no_revision(checkout):
    (checkout / "installed.py").write_text("x = 1\n")
    assert revision_of(checkout / "installed.py") is None


def test_without_git_there_is_no_revision(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert revision_of(checkout / "code.py") is None


def test_versions_name_every_package_that_can_move_a_number():
    found = versions()
    assert set(found) == {
        *("python", "fsad", "torch", "lightning", "timm", "torchmetrics", "dhg", "kornia", "numpy")
    }
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["numpy"] == np.__version__


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_peak_memory_is_what_the_kernel_counts_in_megabytes():
    status = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    assert peak_rss_mb() == pytest.approx(kilobytes / 1024, rel=0.05)
