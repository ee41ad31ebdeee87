"""Seeds: every random input comes from a seeded generator, in float64 unless a test says why."""

import gc
import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

torch.set_num_threads(1)  # the tests' tensors are small: a second thread only waits for the first
os.environ["OMP_NUM_THREADS"] = "1"  # so do the processes that tests start: sums depend on it


def pytest_collection_modifyitems(items):
    """Start with the files of whole programs: where one of them came last, a worker would wait."""
    items.sort(key=lambda item: item.path.parent.name not in ("runs", "export"))


def pytest_collection_finish():
    """Set aside what the imports made: a run ends by looking for garbage, and finds none there."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _global_seed():
    """Make what draws from the global generator, such as dropout, repeat itself."""
    torch.manual_seed(0)


@pytest.fixture(params=range(5), ids=lambda seed: f"seed{seed}")
def generator(request: pytest.FixtureRequest) -> torch.Generator:
    """Five seeds for every law."""
    return torch.Generator().manual_seed(request.param)


@pytest.fixture
def normal(generator: torch.Generator) -> Callable[..., Tensor]:
    """``normal(*shape)``: standard normal numbers in float64."""
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def uniform(generator: torch.Generator) -> Callable[..., Tensor]:
    """``uniform(*shape)``: numbers in [0, 1) in float64."""
    return lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)


class LargestResult(TorchFunctionMode):
    """Records the largest tensor that any torch call returns within the block."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple) else (out,):
            if isinstance(value, Tensor):
                self.numel = max(self.numel, value.numel())
        return out


@pytest.fixture
def largest_result() -> LargestResult:
    """``with largest_result: ...``, then ``largest_result.numel``."""
    return LargestResult()
