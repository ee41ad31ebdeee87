"""What a method is about to learn from, looked at before anything is computed from it."""

import logging

from fsad.data.oddities import oddities
from fsad.data.profile import InputProfile
from fsad.data.reader import DatasetReader
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
    arrays = [reader.read_stored(sample) for sample in role.samples]
    for sample, array in zip(role.samples, arrays, strict=True):
        path = sample.files["depth"]
        z = reader.rules.depth(array, str(path))
        for oddity in oddities(array, z, reader.rules):
            problem = f"{path}: {oddity.problem}"
            if oddity.misleads:
                raise DataError(problem)
            if oddity.kind == "far":
                log.warning("%s", problem)
            elif oddity.kind == "unit":
                log.warning("%s. Scores are not affected", problem)
    return InputProfile.of(arrays, reader.rules)
