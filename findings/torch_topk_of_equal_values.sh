#!/usr/bin/env bash
# torch.topk leaves open which of equal values it takes, ONNX's TopK takes the lowest places. In a row
# of 40 distances, ten of them 0, PyTorch on the CPU takes places 33, 7 and 9 as the nearest three,
# and the program exported from it takes 3, 7 and 9: other neighbours, though both are "the nearest".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import onnxruntime
import torch
from onnx import TensorProto, helper

distances = torch.ones(1, 40)
distances[0, [3, 7, 9, 12, 15, 20, 22, 30, 33, 38]] = 0
ours = torch.topk(distances, 3, largest=False).indices[0].tolist()

graph = helper.make_graph(
    [helper.make_node("TopK", ["x", "k"], ["values", "places"], largest=0)],
    "nearest",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 40])],
    [helper.make_tensor_value_info("places", TensorProto.INT64, [1, 3])],
    [helper.make_tensor("k", TensorProto.INT64, [1], [3])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
session = onnxruntime.InferenceSession(model.SerializeToString())
theirs = session.run(["places"], {"x": distances.numpy()})[0][0].tolist()

print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)
print("nearest three, torch.topk:", ours)
print("nearest three, ONNX TopK: ", theirs)
sys.exit(0 if theirs == [3, 7, 9] and ours != theirs else "this has changed")
PYTHON
