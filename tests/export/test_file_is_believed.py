"""What in an exported file is not believed: scores, thresholds and records that cannot be."""

import numpy as np
import pytest
from model_files import plain, with_nan

from fsad.errors import NonFiniteError
from fsad.predict.onnx import OnnxScorer, load_onnx


@pytest.fixture
def images():
    values = np.linspace(0.4, 0.9, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    return values.repeat(3, axis=1)


def test_a_nan_in_the_map_is_found_by_onnxruntime_though_the_score_has_lost_it(tmp_path, images):
    scored = OnnxScorer(plain(tmp_path / "good.onnx")).score(images)
    assert scored.score == pytest.approx(0.9)
    with pytest.raises(
        NonFiniteError, match=r"^map: expected a finite number, got NaN or infinity"
    ):
        OnnxScorer(with_nan(tmp_path / "nan.onnx")).score(images)


def test_such_an_image_is_not_called_good(tmp_path):
    depth = np.linspace(0.4, 0.9, 64, dtype=np.float32).reshape(8, 8)
    assert load_onnx(plain(tmp_path / "good.onnx")).predict(depth).decision == "defective"
    with pytest.raises(NonFiniteError, match=r"^map: expected a finite number"):
        load_onnx(with_nan(tmp_path / "nan.onnx")).predict(depth)
