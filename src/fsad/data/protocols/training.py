"""The training images of a category: normal ones, whatever the protocol."""

from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.errors import DataError


def training_images(reader: DatasetReader, category: str, modality: str) -> list[Sample]:
    """Return the training split, sorted.

    Args:
        reader: The data set.
        category: Which category.
        modality: Whose file names a sample in the message.

    Raises:
        DataError: One has a defect.
    """
    samples = reader.samples(category, "train")
    for sample in samples:
        if sample.is_anomalous:
            raise DataError(
                f"{sample.files[modality]}: expected training images without defects, "
                f"got {sample.defect!r}. Move them to test/{sample.defect}, or out of the dataset"
            )
    return samples
