#!/usr/bin/env bash
# ONNX Runtime on the CPU: ReduceMax of numbers with a NaN among them is NaN only if the NaN comes
# first; anywhere else it is lost. NumPy and PyTorch give NaN wherever it stands. A score that is the
# maximum of an anomaly map therefore looks sound although the map is not.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper


def maximum(length):
    """A model that returns the largest of so many numbers."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)],
        "maximum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [length])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString())


print("onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)
seen = {}
for length in (4, 16, 100):
    session = maximum(length)
    seen[length] = []
    for place in range(length):
        numbers = np.arange(length, dtype=np.float32)
        numbers[place] = np.nan
        assert np.isnan(numbers.max())
        if np.isnan(session.run(None, {"x": numbers})[0]):
            seen[length].append(place)
    print(f"of {length} numbers, NaN comes out if it stands at {seen[length]}")
sys.exit(0 if all(places == [0] for places in seen.values()) else "this has changed")
PYTHON
