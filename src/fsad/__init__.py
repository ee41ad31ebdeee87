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
    """Read a finished run, or a file exported from one, ready to predict on new images.

    ``fsad.load("outputs/RUN").predict("part.tiff")`` is a
    :class:`~fsad.predict.prediction.Prediction`.

    Args:
        run: The run's folder, or its exported ``.onnx``, which starts in 1.5 s instead of 8 and
            needs no torch. The dataset it was made with is not needed.
        category: Which; may be omitted where the run has one.
        device: ``cpu``, or a GPU as torch names it.
        weights_path: The backbone's file of weights, where it has moved.

    Raises:
        FsadError: There is no such run or category, a file is damaged, or the backbone is another;
            or an exported file is asked for what only a run's folder has.

    Note:
        A run's folder needs torch and Lightning, whose import takes some seconds. The run's
        settings name the classes that are built: load runs of people you trust. Files of weights
        are never unpickled.
    """
    path, weights = Path(run), None if weights_path is None else Path(weights_path)
    if path.suffix == ".onnx" and not path.is_dir():
        from fsad.predict.onnx import load_onnx

        return load_onnx(path, category, device, weights)
    from fsad.predict.from_run import load_run

    return load_run(path, category, device, weights)
