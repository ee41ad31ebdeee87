"""An exported ONNX model as a predictor. The only import of onnxruntime; torch is not needed."""

import logging
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fsad.data.input import input_spec
from fsad.errors import (
    ConfigError,
    DataError,
    MissingDataError,
    PackageError,
    ShapeError,
    message_of,
)
from fsad.predict.model_file.metadata import KEY, MAP, SCORE, Metadata
from fsad.predict.model_file.seal import IN_ONNX, check_seal
from fsad.predict.predictor import Predictor
from fsad.predict.scorer import Limits, Pixels, Scored

log = logging.getLogger(__name__)


class OnnxScorer:
    """A model that ``fsad export`` wrote, as a :class:`~fsad.predict.scorer.Scorer`.

    Args:
        path: The file. It is data: no code in it is run.

    Attributes:
        metadata: What the file says of itself.
        input: How images are read.

    Raises:
        PackageError: ``onnxruntime`` is not installed.
        MissingDataError: There is no such file.
        DataError: It cannot be read, was changed since it was written, or ``fsad`` did not write
            it.
    """

    def __init__(self, path: Path) -> None:
        if find_spec("onnxruntime") is None:
            raise PackageError("onnxruntime", "onnx")
        if not path.is_file():
            raise MissingDataError(f"{path}: expected a model's file, got none")
        sealed = check_seal(path, IN_ONNX)  # before anything makes sense of its bytes
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        try:
            # Without a GPU wherever it runs: the numbers are those that were exported
            self._session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of many types, and none of them documented
            raise DataError(
                f"{path}: expected an ONNX model, got '{message_of(error)}'. "
                "Export it again with: fsad export RUN_DIR"
            ) from error
        record = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        self.metadata = Metadata.from_json(record, str(path))
        try:
            known = self.metadata
            self.input = input_spec(known.modality, known.image_size, asdict(known))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: expected rules and a profile of images in its record, got "
                f"'{message_of(error)}'. Export it again with: fsad export RUN_DIR"
            ) from error
        self._refuse_other_shapes(path)
        if not sealed:
            log.warning(
                "%s: has no digest, so damage to it would not show: an earlier version of fsad "
                "exported it. Export it again with: fsad export RUN_DIR",
                path,
            )

    @property
    def image_size(self) -> int:
        """Height and width of the images that it takes, in pixels, S."""
        return self.metadata.image_size

    def _refuse_other_shapes(self, path: Path) -> None:
        """Refuse a model that does not take or give what its record says."""
        shape = self.input.canvas.shape
        pixels = [self.input.channels, *shape]
        # of one image
        wanted: dict[str, list[int]] = {self.input.modality: pixels, SCORE: [], MAP: [*shape]}
        puts = (*self._session.get_inputs(), *self._session.get_outputs())
        if not self.metadata.has_map:
            del wanted[MAP]
        got = {each.name: each.shape[1:] for each in puts if each.name in wanted}
        if got != wanted or len(self._session.get_inputs()) != 1:
            raise DataError(
                f"{path}: expected a model of images of {shape[0]} x {shape[1]} as its record "
                f"says, got inputs and outputs {got}. Export it again with: fsad export RUN_DIR"
            )

    def score(self, images: Pixels) -> Scored:
        """Score images ``(n, C, S, S)``.

        Raises:
            NonFiniteError: A score or a value of a map is NaN or infinite.
            ShapeError: The images have more or fewer channels than the model looks at.
        """
        if images.shape[1] != self.input.channels:
            raise ShapeError(
                f"images: expected {self.input.channels} channels, as the model of "
                f"{self.input.modality} looks at, got {images.shape[1]}"
            )
        names = [each.name for each in self._session.get_outputs()]
        fed = {self.input.modality: np.ascontiguousarray(images)}
        values = dict(zip(names, self._session.run(names, fed), strict=True))
        return Scored.of_outputs(values).checked()


def load_onnx(
    path: Path,
    category: str | None = None,
    device: str = "cpu",
    weights_path: Path | None = None,
) -> Predictor:
    """Read an exported model, ready to predict.

    Args:
        path: The file.
        category: None: the file is of one, and names it.
        device: ``cpu``.
        weights_path: None: the weights are in it.

    Raises:
        FsadError: As :class:`OnnxScorer`.
        ConfigError: It is asked for what only a run's folder has.
    """
    asked = {
        "category": category,
        "device": None if device == "cpu" else device,
        "weights_path": weights_path,
    }
    for name, value in asked.items():
        if value is not None:
            raise ConfigError(
                f"{name}: expected none with an exported model, got '{value}'. "
                "Leave it out, or name the run's folder instead of the file."
            )
    return predictor_of(OnnxScorer(path))


def predictor_of(scorer: OnnxScorer) -> Predictor:
    """Put to work what a model's file holds."""
    metadata = scorer.metadata
    limits = Limits(
        metadata.threshold, metadata.map_threshold, metadata.false_alarm_rate, metadata.note
    )
    return Predictor(scorer, limits, scorer.input, metadata.category)
