"""Which parts the page has, in order."""

from collections.abc import Callable, Sequence

from fsad.report.section import Section
from fsad.run_record import RunResult

MakeSections = Callable[[Sequence[RunResult]], list[Section]]

FROM_RUNS: tuple[MakeSections, ...] = ()
"""What makes parts from finished runs alone; a run's folder is ``result.path.parent``.

Each returns its sections in order, or nothing where the runs have nothing to show. An
:class:`fsad.errors.FsadError` becomes a line in place of the part; it ends no report.
"""


def sections_from(runs: Sequence[RunResult]) -> list[Section]:
    """Collect the parts that come from finished runs alone, in the order of :data:`FROM_RUNS`."""
    return [section for make in FROM_RUNS for section in make(runs)]
