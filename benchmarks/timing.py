"""Timing contenders side by side: A B A B ..., never one after the other."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Contender = Callable[[], float]
"""Runs once and returns the wall seconds it took."""


@dataclass(frozen=True)
class Timing:
    """The wall seconds of one contender's runs.

    Attributes:
        seconds: One value per run, in the order of the runs.
        note: What a reader must know, such as ``extrapolated from 50 steps``.
    """

    seconds: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        """The median, which ratios are made of."""
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        """The quickest run: what the machine can do when nothing else runs."""
        return min(self.seconds)


def timed(call: Callable[[], object]) -> Contender:
    """Make a contender of a function of this process; a GPU is waited for."""

    def run() -> float:
        _wait()
        start = time.perf_counter()
        call()
        _wait()
        return time.perf_counter() - start

    return run


def alternate(
    contenders: Mapping[str, Contender], repeats: int, warm_up: bool = True
) -> dict[str, Timing]:
    """Run every contender ``repeats`` times, taking turns.

    Args:
        contenders: What to run, by name.
        repeats: Turns that count.
        warm_up: Whether a first turn, which does not count, goes before them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + warm_up):
        for name, run in contenders.items():
            taken = run()
            if turn >= warm_up:
                seconds[name].append(taken)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
