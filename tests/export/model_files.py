"""ONNX files made by hand, as ``fsad export`` would never write them."""

import onnx
from onnx import TensorProto, helper

from fsad.predict.model_file.metadata import KEY, Metadata

RECORD = Metadata(
    fsad="0.1.0",
    method="raw",
    category="tile",
    image_size=8,
    beta=0.5,
    sigma=1.0,
    backbone={"name": "depth", "weights": "none", "sha256": "", "licence": "none needed"},
    threshold=0.5,
)


def model_file(path, *nodes, record=RECORD, metadata=None):
    """Write a model whose ``nodes`` make ``map`` and ``score`` of ``depth``."""
    size = record.image_size
    shapes = {"depth": ["n", 1, size, size], "score": ["n"], "map": ["n", size, size]}
    depth, score, maps = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
    ]
    graph = helper.make_graph(nodes, "made by hand", [depth], [score, maps], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    text = record.to_json() if metadata is None else metadata
    helper.set_model_props(model, {KEY: text})
    onnx.save(model, path)
    return path


def plain(path, record=RECORD, metadata=None):
    """A file whose map is the image, and whose score is its highest value."""
    squeeze = helper.make_node("Squeeze", ["depth", "axis"], ["map"])
    highest = helper.make_node("ReduceMax", ["map", "axes"], ["score"], keepdims=0)
    return model_file(path, squeeze, highest, record=record, metadata=metadata)


def with_nan(path):
    """A file whose map is NaN where depth is below one half, and whose score is not."""
    squeeze = helper.make_node("Squeeze", ["depth", "axis"], ["image"])
    less = helper.make_node("Sub", ["image", "half"], ["less"])
    root = helper.make_node("Sqrt", ["less"], ["map"])
    highest = helper.make_node("ReduceMax", ["image", "axes"], ["score"], keepdims=0)
    return model_file(path, squeeze, less, root, highest)


__all__ = ["RECORD", "model_file", "plain", "with_nan"]
