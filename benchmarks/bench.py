"""What one item's benchmark is given to measure with, and where its findings go."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.peer import Peer
from benchmarks.record import Row
from benchmarks.timing import Contender, Timing, alternate

T = TypeVar("T")


@dataclass
class Bench:
    """One item's run.

    Attributes:
        scale: ``full``; ``quick``, to see that all works; ``tiny``, for tests.
        folder: For temporary files.
        peer: anomalib, where it is installed.
        rows: Its lines of the table.
        timings: Every run of every contender, by race.
        series: Cost against size, by what was varied.
    """

    scale: str
    folder: Path
    peer: Peer | None = None
    rows: list[Row] = field(default_factory=list)
    timings: dict[str, dict[str, Timing]] = field(default_factory=dict)
    series: dict[str, Any] = field(default_factory=dict)

    def pick(self, *, full: T, quick: T, tiny: T) -> T:
        """Choose what suits the scale."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.scale]

    def race(
        self,
        name: str,
        contenders: Mapping[str, Contender],
        repeats: int,
        notes: Mapping[str, str] | None = None,
        warm_up: bool = True,
    ) -> dict[str, Timing]:
        """Let contenders take turns, and keep their times.

        Args:
            name: What is raced for, with its size.
            contenders: By name.
            repeats: Turns.
            notes: What a reader must know of a contender's times.
            warm_up: Whether a first turn does not count.
        """
        found = alternate(contenders, repeats, warm_up)
        self.timings[name] = {
            who: replace(timing, note=(notes or {}).get(who, "")) for who, timing in found.items()
        }
        return self.timings[name]
