"""The parts of the page that come from finished runs alone, in order."""

from collections.abc import Callable, Sequence

from fsad.errors import FsadError, message_of
from fsad.report.diagnostics import diagnostics
from fsad.report.section import Section
from fsad.run_record import RunResult

MakeSections = Callable[[Sequence[RunResult]], list[Section]]

FROM_RUNS: tuple[MakeSections, ...] = (diagnostics,)
"""What makes parts from finished runs alone; a run's folder is ``result.path.parent``.

Each returns its sections in order, or nothing where the runs have nothing to show.
"""


def sections_from(runs: Sequence[RunResult]) -> tuple[list[Section], list[str]]:
    """Collect the parts in the order of :data:`FROM_RUNS`.

    Returns:
        The parts, and for each that could not be made the reason; one ends no report.
    """
    sections: list[Section] = []
    problems: list[str] = []
    for make in FROM_RUNS:
        try:
            sections += make(runs)
        except FsadError as error:
            problems.append(message_of(error))
    return sections, problems
