"""Few-shot anomaly detection across sensors: from plentiful RGB images to a few depth images."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsad.predict.predictor import Predictor

__all__ = ["load"]


def load(
    run: Path | str,
    category: str | None = None,
    device: str = "cpu",
    weights_path: Path | str | None = None,
) -> "Predictor":
    """Read a finished run back, ready to predict on new images.

    ``fsad.load("outputs/RUN").predict("part.tiff")`` is a
    :class:`~fsad.predict.prediction.Prediction`.

    Args:
        run: The run's folder. The dataset it was made with is not needed.
        category: Which; may be omitted where the run has one.
        device: ``cpu``, or a GPU as torch names it.
        weights_path: The backbone's file of weights, where it has moved.

    Raises:
        FsadError: There is no such run or category, a file is damaged, or the backbone is another.

    Note:
        Imports torch and Lightning: some seconds. The run's settings name the classes that are
        built: load runs of people you trust. Files of weights are never unpickled.
    """
    from fsad.predict.from_run import load_run

    weights = None if weights_path is None else Path(weights_path)
    return load_run(Path(run), category, device, weights)
