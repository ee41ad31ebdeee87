"""Which images of the test split a category has learnt from: they are never tested again.

A protocol may take seen anomalies out of the test split. Its draw depends on the listing, so that a
file that is added later, or another folder of data, would let an image that was learnt from come
back as a test image.
"""

import json
from pathlib import Path

from fsad.data.task import Task
from fsad.errors import DataError, RunError
from fsad.storage.digests import refuse_changed, with_digest
from fsad.storage.regular import refuse_irregular
from fsad.storage.tensors import write_json

LEARNT = "learnt.json"


def learnt_from_test_split(task: Task) -> list[str]:
    """Name the images of the test split that a task lets a method learn from, sorted."""
    return sorted(
        {
            role.name_of(sample)
            for role in task.roles.values()
            for sample in role.samples
            if sample.split == "test"
        }
    )


def record_learnt(folder: Path, task: Task) -> None:
    """Write down what is about to be learnt from; where that is no test image, nothing.

    Args:
        folder: The category's, or the run's.
        task: Its task, which :func:`refuse_learnt` has passed.
    """
    if names := learnt_from_test_split(task):
        write_json(folder / LEARNT, with_digest({"images": names}))


def refuse_learnt(folder: Path, task: Task) -> None:
    """Refuse a task that is not the one that a category was trained on.

    Args:
        folder: The folder of a category that was trained, or has begun to be; of a run, where a
            stage is trained once for all its categories.
        task: Today's.

    Raises:
        RunError: It tests an image that was learnt from, or lets others be learnt from, or there
            is no record of them.
        DataError: The record cannot be read.
    """
    path = folder / LEARNT
    if not path.exists():
        begun = any(folder.glob("*.safetensors")) or any(folder.glob("*.ckpt"))
        if begun and learnt_from_test_split(task):
            raise RunError(
                f"{path}: expected the record of the test images that were learnt from, got none "
                "beside what was trained. Start a new run."
            )
        return
    known, now = _read(path), learnt_from_test_split(task)
    tested = {sample.name for sample in task.test.samples}
    if again := sorted(known & tested):
        raise RunError(
            f"{path}: expected no test image that was learnt from, got {again[0]}. The data set "
            "has changed since; put it back as it was, or start a new run."
        )
    if others := sorted(known ^ set(now)):
        raise RunError(
            f"{path}: expected the same images to learn from, got a difference: {others[0]}. "
            "The data set has changed since; put it back as it was, or start a new run."
        )


def _read(path: Path) -> set[str]:
    try:
        refuse_irregular(path)
        record = json.loads(path.read_text(encoding="utf-8"))
        refuse_changed(record)
        return {str(name) for name in record["images"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected the images that were learnt from, got a file that cannot be read. "
            "Start a new run."
        ) from error
