"""The data set that a run read, if it is still where it was."""

from pathlib import Path

from fsad.data.depth_rules import DepthRules
from fsad.data.layout import reader_class
from fsad.data.mvtec3d import MVTec3D
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.errors import DataError, MissingDataError
from fsad.results.record import RunResult


def open_dataset(result: RunResult, root: Path | None = None) -> DatasetReader:
    """Open the data set of a run.

    Args:
        result: The run.
        root: Where the data set is now; where the run read it if omitted.

    Raises:
        MissingDataError: It is not there. A generated one whose folder is gone is not
            generated again.
        DataError: The run's reader is none of this package's, or its settings are not to be read.
    """
    try:
        settings = dict(result.config["data"]["reader"])
        rules = DepthRules.of(result.config["data"])
        written = result.config["data"]["root"]
        place = root or (written if isinstance(written, str) else Path(written))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{result.path}: expected data.reader and data.root in the settings, got none"
        ) from error
    target = str(settings.pop("_target_", None))
    settings.pop("_partial_", None)
    kind = reader_class(target)
    if kind is None:
        known = f"{MVTec3D.__module__}.{MVTec3D.__name__}"
        raise DataError(
            f"data.reader: expected one of the readers in fsad.data, such as {known}, got "
            f"{target!r}"
        )
    if not kind.place(place).is_dir():
        raise MissingDataError(f"{place}: expected the data set of the run, got no such folder")
    try:
        return kind(place, rules, **settings)
    except TypeError as error:
        raise DataError(f"data.reader: expected its settings, got '{error}'") from error


def test_samples(reader: DatasetReader, category: str, images: list[str]) -> list[Sample]:
    """List the test images of a category that a run scored: all, or those that it set aside less.

    Args:
        reader: The data set.
        category: The object.
        images: The scored images' files, relative to the data set's folder, in order.

    Raises:
        DataError: One of them is not there.
        MissingDataError: There are none.
    """
    samples = reader.samples(category, "test")
    by_file = {
        path.relative_to(reader.root).as_posix(): sample
        for sample in samples
        for path in sample.files.values()
    }
    if not by_file.keys() >= set(images):
        raise DataError(
            f"{reader.root}: expected the {len(images)} test images of {category} that the run "
            f"scored, got {len(samples)} others"
        )
    return [by_file[image] for image in images]


def images_by_file(reader: DatasetReader, category: str) -> dict[str, tuple[Sample, str]]:
    """List all images of a category by their files, relative to the data set's folder.

    Args:
        reader: The data set.
        category: The object.

    Returns:
        Of each file the sample and the modality.

    Raises:
        MissingDataError: There are none.
    """
    return {
        file.relative_to(reader.root).as_posix(): (sample, modality)
        for split in ("train", "test")
        for sample in reader.samples(category, split)
        for modality, file in sample.files.items()
    }
