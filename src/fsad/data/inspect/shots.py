"""What a method is about to learn from, looked at before anything is computed from it."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from fsad.data.identity import files_digest
from fsad.data.oddities import oddities
from fsad.data.profile import InputProfile
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.data.task import Role
from fsad.errors import DataError

log = logging.getLogger(__name__)


def inspect(reader: DatasetReader, role: Role) -> InputProfile:
    """Look at the images of a role.

    Args:
        reader: The data set.
        role: Whose images, at least one. Only depth can mislead; of photographs the first is
            measured.

    Returns:
        What new images will be held against.

    Raises:
        DataError: A file cannot be used, or would mislead whatever is learnt from it: its range is
            collapsed, or its points are in another order.
    """
    if role.modality != "depth":
        height, width = reader.read(role.samples[0], role.modality).shape[:2]
        return InputProfile(width / height)
    names = tuple(str(sample.files["depth"]) for sample in role.samples)
    content = files_digest(role.samples, "depth")
    about = f"{type(reader).__qualname__} {json.dumps(reader.rules.to_json())}"
    profile, lines = _depth_profile(_Shots(names, content, about, role.samples, reader))
    for line in lines:
        log.warning("%s", line)
    return profile


@dataclass(frozen=True)
class _Shots:
    """Depth images to look at; equal to those of another job that are the same files."""

    names: tuple[str, ...]
    content: str
    read_as: str
    samples: Sequence[Sample] = field(compare=False)
    reader: DatasetReader = field(compare=False)


@lru_cache(maxsize=16)
def _depth_profile(shots: _Shots) -> tuple[InputProfile, list[str]]:
    """Return what new images will be held against, and what a user shall be warned of.

    Of the jobs of a grid in one process, the first looks at the files.
    """
    lines: list[str] = []
    profile = InputProfile.of(_looked_at(shots, lines), shots.reader.rules)
    return profile, lines


def _looked_at(shots: _Shots, lines: list[str]) -> Iterator[NDArray[Any]]:
    """Yield depth one by one, for there may be many; what a user shall be told goes to lines."""
    reader = shots.reader
    for sample in shots.samples:
        path = sample.files["depth"]
        array = reader.read_stored(sample)
        for oddity in oddities(array, reader.rules.depth(array, str(path)), reader.rules):
            problem = f"{path}: {oddity.problem}"
            if oddity.misleads:
                raise DataError(problem)
            if oddity.kind == "far":
                lines.append(problem)
            elif oddity.kind == "unit":
                lines.append(f"{problem}. Scores are not affected")
        yield array
