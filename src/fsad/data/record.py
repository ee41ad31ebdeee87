"""The record at the root of a prepared copy: what it was made from, how, and how far it got."""

import json
from pathlib import Path
from typing import Any

from fsad.errors import RunError, check_positive
from fsad.storage.atomic import write_json
from fsad.storage.regular import refuse_irregular

PREPARED = "fsad_prepared.json"
ZERO = "zero"
"""The setting of the preparation by which photographs are made black beside the part."""
AGAIN = "Prepare the dataset anew, into another folder: fsad data prepare"
Record = dict[str, Any]


def begin_record(path: Path, settings: Record) -> Record:
    """Start a copy's record, or take up the one that is there.

    Args:
        path: The record. Its folder exists.
        settings: Everything the copy's bytes depend on.

    Returns:
        The record, with the categories recorded so far under ``categories``.

    Raises:
        RunError: The folder holds something else, or a copy made with other settings.
        OutputError: The record cannot be written.
    """
    settings = json.loads(json.dumps(settings))
    if not path.exists():
        if any(path.parent.iterdir()):
            raise RunError(
                f"output: expected a new folder or an earlier preparation, got '{path.parent}' "
                f"with other files and no {path.name}. Choose another folder."
            )
        record = {**settings, "categories": {}}
        write_json(path, record)
        return record
    record = _read(path)
    for name in settings.keys() - {"fsad"}:  # a newer version may continue an older one's work
        if record.get(name) != settings[name]:
            raise RunError(
                f"output: expected a copy prepared with {name} {settings[name]}, "
                f"got {record.get(name)} in '{path}'. Choose another folder, or use its settings."
            )
    return record


def record_category(path: Path, record: Record, category: str, entry: Record) -> None:
    """Add what became of a category; the file is left alone if it says so already.

    Raises:
        OutputError: The record cannot be written.
    """
    if record["categories"].get(category) == entry:
        return
    record["categories"][category] = entry
    # In order of name, so that the order of preparation leaves no trace.
    record["categories"] = dict(sorted(record["categories"].items()))
    write_json(path, record)


def prepared_as(root: Path) -> Record:
    """Tell how a dataset's images were prepared.

    Args:
        root: The dataset's folder.

    Returns:
        ``threshold``, the height above the ground from which on a point is the part's, and
        ``rules``, how the source was read, where it was told; ``rgb_background`` where photographs
        were made black beside the part; empty for a dataset as it came.

    Raises:
        RunError: There is a record that cannot be read.
    """
    path = root / PREPARED
    if not path.exists():
        return {}
    try:
        parameters = _read(path)["parameters"]
        rules = {"rules": parameters["rules"]} if "rules" in parameters else {}
        blackened = parameters.get("rgb_background") == ZERO
        beside = {"rgb_background": ZERO} if blackened else {}
        threshold = check_positive("threshold", parameters["threshold"])
        return {"threshold": threshold, **rules, **beside}
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: expected the threshold of a preparation, got none. {AGAIN}"
        ) from error


def _read(path: Path) -> Record:
    try:
        refuse_irregular(path)
        record = json.loads(path.read_text(encoding="utf-8"))
        usable = isinstance(record["categories"], dict)
    except (OSError, ValueError, KeyError, TypeError):
        usable = False
    if not usable:
        raise RunError(f"{path}: expected the record of a preparation, got something else. {AGAIN}")
    return dict(record)
