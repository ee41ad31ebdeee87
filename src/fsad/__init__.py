"""Few-shot anomaly detection in photographs and depth images, and across sensors.

The names below are the public API. They are imported when they are first used, so that
``import fsad`` takes no time.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsad.data.eyecandies import Eyecandies
    from fsad.data.mvtec3d import MVTec3D
    from fsad.data.photographs.image_folder import ImageFolder
    from fsad.functional.coreset import k_center_greedy
    from fsad.functional.distance import nearest
    from fsad.functional.scoring import anomaly_maps, patch_scores
    from fsad.methods.hypertrans import HyperTrans
    from fsad.methods.patchcore import PatchCore
    from fsad.methods.subspace import Subspace
    from fsad.metrics.anomaly import Evaluation
    from fsad.predict.prediction import Prediction
    from fsad.predict.predictor import Predictor
    from fsad.results.record import read_result
    from fsad.results.table.collect import collect
    from fsad.results.table.paired import compare

__all__ = [
    "Evaluation",
    "Eyecandies",
    "HyperTrans",
    "ImageFolder",
    "MVTec3D",
    "PatchCore",
    "Prediction",
    "Predictor",
    "Subspace",
    "anomaly_maps",
    "collect",
    "compare",
    "k_center_greedy",
    "load",
    "nearest",
    "patch_scores",
    "read_result",
]

_HOMES = {
    "Evaluation": "fsad.metrics.anomaly",
    "Eyecandies": "fsad.data.eyecandies",
    "HyperTrans": "fsad.methods.hypertrans",
    "ImageFolder": "fsad.data.photographs.image_folder",
    "MVTec3D": "fsad.data.mvtec3d",
    "PatchCore": "fsad.methods.patchcore",
    "Prediction": "fsad.predict.prediction",
    "Predictor": "fsad.predict.predictor",
    "Subspace": "fsad.methods.subspace",
    "anomaly_maps": "fsad.functional.scoring",
    "collect": "fsad.results.table.collect",
    "compare": "fsad.results.table.paired",
    "k_center_greedy": "fsad.functional.coreset",
    "nearest": "fsad.functional.distance",
    "patch_scores": "fsad.functional.scoring",
    "read_result": "fsad.results.record",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'fsad' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
        run: The run's folder, or its exported ``.onnx``, which starts in 1.5 s instead of 4 to 8
            and needs no torch. The dataset it was made with is not needed.
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

    Examples:
        >>> import fsad
        >>> model = fsad.load("outputs/hypertrans")
        >>> model.predict("part.tiff").decision in ("good", "defective")
        True
    """
    path, weights = Path(run), None if weights_path is None else Path(weights_path)
    if path.suffix == ".onnx" and not path.is_dir():
        from fsad.predict.onnx import load_onnx

        return load_onnx(path, category, device, weights)
    from fsad.predict.from_run import load_run

    return load_run(path, category, device, weights)
