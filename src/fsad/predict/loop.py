"""From files to predictions on disk, one by one; a bad file stops no other."""

import logging
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fsad.errors import DataError, NonFiniteError
from fsad.predict.images import state_of, time_of
from fsad.predict.outputs import Outputs
from fsad.predict.predictor import Predictor

log = logging.getLogger(__name__)


@dataclass
class Summary:
    """What became of the files.

    Attributes:
        seconds: Of each image, from the file to the prediction; writing is not in it.
        defective: How many images were called so; None where nothing was decided.
        failed: What could not be read, one line each.
        elapsed: Wall time of everything, seconds; of a watch without the waiting.
    """

    seconds: list[float] = field(default_factory=list)
    defective: int | None = None
    failed: list[str] = field(default_factory=list)
    elapsed: float = 0.0

    def lines(self) -> list[str]:
        """Say it in words."""
        count = len(self.seconds)
        told = f"{count} image{'' if count == 1 else 's'} predicted"
        if self.defective is not None:
            told += f", {self.defective} defective"
        if self.failed:
            told += f"; {len(self.failed)} could not be read"
        lines = [told]
        if count:
            median, worst = statistics.median(self.seconds), max(self.seconds)
            lines.append(
                f"latency {1000 * median:.0f} ms an image (median; worst {1000 * worst:.0f} ms), "
                f"{count / self.elapsed:.1f} images a second including writing"
            )
        return lines


def predict_files(
    predictor: Predictor,
    files: Iterable[Path],
    outputs: Outputs,
    complain: Callable[[str], object],
    notice: Callable[[str], object] = log.warning,
    summary: Summary | None = None,
    comes_again: bool = False,
) -> Summary:
    """Predict on files and write each prediction at once.

    Args:
        predictor: The trained model.
        files: Which, in this order.
        outputs: Where to.
        complain: Told of each file that cannot be read, in one line.
        notice: Told of each image that is unlike the training images, in one line.
        summary: What to add to.
        comes_again: Whether ``files`` yields a file once more that changes while it is read.

    Returns:
        What became of them.

    Raises:
        OutputError: A prediction cannot be written.
        DataError: The table that they would join is of another model: its score has other parts.
    """
    summary = summary or Summary()
    if summary.defective is None and predictor.limits.image is not None:
        summary.defective = 0
    for path in files:
        start = time.perf_counter()
        state = state_of(path)
        try:
            outputs.refuse_name(path)
            prediction = predictor.predict(path)
            if state_of(path) != state and not comes_again:
                raise DataError(
                    f"{path}: expected a file that stays as it is, got one that changed while it "
                    "was read. Predict on it again."
                )
        except (DataError, NonFiniteError) as error:
            if not comes_again or state_of(path) == state:
                summary.failed.append(str(error))
                complain(str(error))
            continue
        if state_of(path) != state:
            continue
        for note in prediction.notes:
            notice(note)
        outputs.write(prediction, path, time_of(state))
        summary.seconds.append(prediction.seconds)
        if summary.defective is not None:
            summary.defective += prediction.decision == "defective"
        summary.elapsed += time.perf_counter() - start
    return summary
