"""The exported file that a run keeps beside its banks. Needs nothing but Python."""

import hashlib
from pathlib import Path

from fsad.scores.threshold import THRESHOLD

RECORD = "category.json"
MODEL = "model.onnx"
STATE = (RECORD, THRESHOLD, "../../config.yaml")
"""What a prediction depends on besides banks and weights, seen from a category's folder."""


def kept_model(run: Path, category: str | None) -> Path | None:
    """Find the file that ``fsad export`` has left in a run.

    Args:
        run: The run's folder.
        category: Which; may be omitted where there is one.

    Returns:
        ``categories/NAME/model.onnx``; None where there is none, or no such category.
    """
    folders = [path.parent for path in run.glob(f"categories/*/{RECORD}")]
    named = [each for each in folders if category in (None, each.name)]
    path = named[0] / MODEL if len(named) == 1 else None
    return path if path and path.is_file() else None


def state_of(category: Path) -> str:
    """Digest what a run says of a category: another test, threshold or setting is another state.

    Args:
        category: Its folder in a finished run.

    Returns:
        SHA-256, hexadecimal, of the files of :data:`STATE`; one that is missing counts as empty.
    """
    digest = hashlib.sha256()
    for name in STATE:
        path = category / name
        content = path.read_bytes() if path.is_file() else b""
        digest.update(len(content).to_bytes(8) + content)
    return digest.hexdigest()
