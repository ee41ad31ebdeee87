"""Finding runs below folders: those with a result, and those that left none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from fsad.errors import DataError, MissingDataError, message_of
from fsad.results.record import RunResult, read_result

ELSEWHERE = ("resume", "paths.output_dir")  # overrides by which a job writes to another folder


@dataclass
class Runs:
    """What lies below some folders.

    Attributes:
        results: Runs that were read, in the order of their paths.
        missing: Folders of runs that left no ``result.json``, by what to call them.
        problems: What could not be read and why, one line each.
    """

    results: list[RunResult] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def refuse_unreadable(self) -> None:
        """Refuse runs of which not one could be read.

        Raises:
            DataError: There are problems and no results.
        """
        if self.problems and not self.results:
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            raise DataError(f"{self.problems[0]}{more}")


def _jobs_without_result(root: Path, done: set[Path]) -> list[Path]:
    """List the outermost configured folders without a result in, above or below them.

    A job writes ``config.yaml`` into its folder once its settings are known to be good. A single
    one refused before that (a slip of the keyboard) is no hole, nor is one that wrote to another
    folder; one of a multirun is a hole all the same.
    """
    started = {file.parent for file in root.rglob("config.yaml") if file.parent.name != ".hydra"}
    hydras = {file.parent.parent for file in root.rglob(".hydra/overrides.yaml")}
    swept = {job for job in hydras if (job.parent / "multirun.yaml").is_file()}
    started |= {job for job in swept if not _wrote_elsewhere(job)}
    left = {
        job
        for job in started
        if not any(job.is_relative_to(one) or one.is_relative_to(job) for one in done)
    }
    return sorted(job for job in left if left.isdisjoint(job.parents))  # loggers nest their own


def _overrides(job: Path) -> list[str]:
    """Return what a job was asked to override; nothing where that cannot be read."""
    try:
        overrides = yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return []
    return [str(override) for override in overrides] if isinstance(overrides, list) else []


def _wrote_elsewhere(job: Path) -> bool:
    pairs = (override.lstrip("+").partition("=") for override in _overrides(job))
    return any(
        key in ELSEWHERE and value not in ("", "null") and not _is_above(value.strip("'"), job)
        for key, _, value in pairs
    )


def _is_above(folder: str, job: Path) -> bool:
    """Tell whether a sweep's own jobs were gone on with: they write where they always did."""
    return Path(folder).resolve() in job.resolve().parents


def _name(job: Path, root: Path) -> str:
    """Call a job by its folder and by what it was asked to override."""
    name = root.name if job == root else str(job.relative_to(root))
    overrides = ", ".join(_overrides(job))
    return f"{name} ({overrides})" if overrides else name


def collect(paths: Sequence[Path]) -> Runs:
    """Read every ``result.json`` below the given folders.

    A file that cannot be read becomes a problem, and a folder that a run was started in but that
    holds no result becomes a missing run: neither stops the others.

    Args:
        paths: Folders, or ``result.json`` files.

    Raises:
        MissingDataError: A path is not there, or no run was found below any.

    Examples:
        >>> from pathlib import Path
        >>> import fsad
        >>> runs = fsad.collect([Path("outputs")])
        >>> sorted(result.method for result in runs.results)
        ['hypertrans', 'patchcore']
    """
    runs = Runs()
    seen: set[Path] = set()
    for root in (path.resolve() for path in paths):
        if not root.exists():
            raise MissingDataError(
                f"{root}: expected a folder with results, got nothing there. "
                "Give the folder of a run or a sweep, or one above it, such as outputs."
            )
        files = [root] if root.is_file() else sorted(root.rglob("result.json"))
        for file in (file for file in files if file not in seen):
            try:
                runs.results.append(read_result(file))
            except (DataError, MissingDataError) as error:
                runs.problems.append(message_of(error))
        jobs = [] if root.is_file() else _jobs_without_result(root, {file.parent for file in files})
        runs.missing += [_name(job, root) for job in jobs if job not in seen]
        seen.update(files, jobs)
    if not (runs.results or runs.missing or runs.problems):
        folders = ", ".join(map(str, paths)) or "no folder"
        raise MissingDataError(
            f"{folders}: expected a result.json below, got none. Give the folder of a run or a "
            "sweep, or one above it, such as outputs."
        )
    return runs
