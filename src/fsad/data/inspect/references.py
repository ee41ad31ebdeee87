"""Images of known defects and of another data set, looked at before anything is learnt of them."""

from fsad.data.identity import content_of
from fsad.data.reader import DatasetReader
from fsad.data.task import Role, Task
from fsad.errors import DataError


def refuse_unmarked(reader: DatasetReader, role: Role) -> None:
    """Refuse a defective image of which no pixel is marked.

    Args:
        reader: The data set.
        role: Whose images and masks.

    Raises:
        DataError: A mask is empty, or cannot be read.
    """
    for sample in role.samples:
        if sample.is_anomalous and not reader.read_mask(sample).any():
            file = sample.masks[0] if sample.masks else sample.files[role.modality]
            raise DataError(
                f"{file.relative_to(reader.root).as_posix()}: expected a mask that marks the "
                "defect of a reference, got an empty one. Mend it, or draw others with another "
                "data.seed."
            )


def refuse_copies(reader: DatasetReader, task: Task) -> None:
    """Refuse to test an image whose copy is learnt from in another data set.

    Args:
        reader: The data set that is tested.
        task: Who plays which role in it.

    Raises:
        DataError: An image of either data set holds what one of the other holds.
        MissingDataError: A file is not there.
    """
    others = [role for role in task.roles.values() if role.reader is not None]
    learnt = {
        content_of(sample.files[role.modality]): sample.files[role.modality]
        for role in others
        for sample in role.samples
    }
    if not learnt:
        return
    for sample in task.test.samples:
        file = sample.files[task.test.modality]
        if copy := learnt.get(content_of(file)):
            raise DataError(
                f"{copy}: expected no image that is tested among those of source, got a copy of "
                f"{file.relative_to(reader.root).as_posix()}. Name other categories in "
                "source.category, or choose another data set."
            )
