"""An exported ONNX model as a predictor. The only import of onnxruntime; torch is not needed."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fsad.data.depth_rules import DepthRules
from fsad.data.profile import InputProfile
from fsad.errors import (
    ConfigError,
    DataError,
    MissingDataError,
    PackageError,
    ShapeError,
    message_of,
)
from fsad.predict.model_file.metadata import INPUT, KEY, MAP, SCORE, Metadata
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
        rules: How it reads images.
        profile: What the training images looked like.

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
            self.rules = DepthRules.from_json(self.metadata.rules)
            self.profile = InputProfile.from_json(self.metadata.profile)
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
        size = self.metadata.image_size
        wanted = {INPUT: [1, size, size], SCORE: [], MAP: [size, size]}  # of one image
        puts = (*self._session.get_inputs(), *self._session.get_outputs())
        got = {each.name: each.shape[1:] for each in puts if each.name in wanted}
        if got != wanted or len(self._session.get_inputs()) != 1:
            raise DataError(
                f"{path}: expected a model of images of {size} x {size} as its record says, got "
                f"inputs and outputs {got}. Export it again with: fsad export RUN_DIR"
            )

    def score(self, images: Pixels) -> Scored:
        """Score depth images ``(n, 3, S, S)``; their channels are equal, and one is looked at.

        Raises:
            NonFiniteError: A score or a value of a map is NaN or infinite.
            ShapeError: The channels are not equal.
        """
        if images.shape[1] > 1 and (images[:, 1:] != images[:, :1]).any():
            raise ShapeError(
                "images: expected three equal channels, as of a depth image, got colours. "
                "The exported file looks at one channel."
            )
        names = [each.name for each in self._session.get_outputs()]
        values = self._session.run(names, {INPUT: np.ascontiguousarray(images[:, :1])})
        said = dict(zip(names, values, strict=True))
        return Scored(
            said[SCORE], said.get(f"{SCORE}_source"), said.get(f"{SCORE}_target"), said[MAP]
        ).checked()


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
    said = scorer.metadata
    limits = Limits(said.threshold, said.map_threshold, said.false_alarm_rate, said.note)
    return Predictor(
        scorer,
        limits,
        said.category,
        said.part_above,
        said.png_holes,
        scorer.rules,
        scorer.profile,
    )
