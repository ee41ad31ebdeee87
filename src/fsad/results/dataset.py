"""The data set that a run read, if it is still where it was."""

from pathlib import Path

from fsad.data.depth_rules import DepthRules
from fsad.data.eyecandies import Eyecandies
from fsad.data.mvtec3d import MVTec3D
from fsad.data.pairs import PairReader, Sample
from fsad.data.synthetic import Synthetic
from fsad.errors import DataError, MissingDataError
from fsad.results.record import RunResult

READERS = {f"{each.__module__}.{each.__name__}": each for each in (MVTec3D, Eyecandies)} | {
    # Named by its package in the settings.
    "fsad.data.synthetic.Synthetic": Synthetic,
}
"""What a result may name as its reader: no file from elsewhere chooses the code that runs."""


def open_dataset(result: RunResult, root: Path | None = None) -> PairReader:
    """Open the data set of a run.

    Args:
        result: The run.
        root: Where the data set is now; where the run read it if omitted.

    Raises:
        MissingDataError: It is not there. A generated one whose folder is gone is not
            generated again.
        DataError: The run's reader is none of :data:`READERS`, or its settings are not to be read.
    """
    try:
        settings = dict(result.config["data"]["reader"])
        rules = DepthRules.of(result.config["data"])
        found = root or Path(result.config["data"]["root"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{result.path}: expected data.reader and data.root in the settings, got none"
        ) from error
    target = str(settings.pop("_target_", None))
    settings.pop("_partial_", None)
    if target not in READERS:
        raise DataError(f"data.reader: expected one of {', '.join(READERS)}, got {target!r}")
    if not found.is_dir():
        raise MissingDataError(f"{found}: expected the data set of the run, got no such folder")
    try:
        reader: PairReader = READERS[target](found, rules, **settings)
    except TypeError as error:
        raise DataError(f"data.reader: expected its settings, got '{error}'") from error
    return reader


def test_samples(reader: PairReader, category: str, images: list[str]) -> list[Sample]:
    """List the test images of a category, if they are those that the run scored.

    Args:
        reader: The data set.
        category: The object.
        images: The scored images' depth files, relative to the data set's folder, in order.

    Raises:
        DataError: They are others.
        MissingDataError: There are none.
    """
    samples = reader.samples(category, "test")
    found = [sample.depth.relative_to(reader.root).as_posix() for sample in samples]
    if found != images:
        raise DataError(
            f"{reader.root}: expected the {len(images)} test images of {category} that the run "
            f"scored, got {len(found)} others"
        )
    return samples
