"""What decides whether two runs may share files."""

import pytest
import torch
from omegaconf import OmegaConf

from fsad.run.job import identity


def settings(devices: int, precision: str = "32-true"):
    return OmegaConf.create(
        {
            "trainer": {"accelerator": "cpu", "devices": devices, "precision": precision},
            "callbacks": None,
        }
    )


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_two_processes_that_share_two_threads_share_files_with_one_of_one_thread(threads):
    threads(2)
    shared_out = identity(settings(devices=2))
    threads(1)
    assert identity(settings(devices=1)) == shared_out


def test_more_processes_than_threads_have_one_each(threads):
    threads(1)
    one = identity(settings(devices=1))
    threads(2)
    assert identity(settings(devices=3)) == one


def test_another_number_of_threads_shares_nothing(threads):
    threads(2)
    two = identity(settings(devices=1))
    threads(1)
    assert identity(settings(devices=1)) != two


def test_further_code_of_the_configuration_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for body in ("a = 1", "a = 2"):
        (tmp_path / "own_method.py").write_text(f"class Own:\n    {body}\n")
        own = __import__("own_method").Own()
        found.append(identity(settings(devices=1), own))
    assert len({*found, identity(settings(devices=1))}) == 3
