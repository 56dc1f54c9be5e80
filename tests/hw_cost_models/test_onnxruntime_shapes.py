"""What ONNX Runtime knows of shapes before it runs, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hw_cost_models.onnx_file import File, read_file
from hw_cost_models.onnxruntime_shapes import OptimisedShapes, known_shapes

if TYPE_CHECKING:
    from pathlib import Path

    from hw_cost_models.onnx_values import Value
    from hw_cost_models.onnxruntime_shapes import Known

_Shape = list[int | str]


def _known(
    folder: Path, nodes: list[onnx.NodeProto], shape: _Shape, **constants: np.ndarray
) -> tuple[dict[str, Value], dict[str, Known | None]]:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name=nodes[-1].output[0])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid(domain, 1) for domain in ("com.microsoft", "com.microsoft.nchwc")]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20), *opsets]), path)
    file = read_file(path)
    values = _walk(file, OptimisedShapes(file, {"batch": 2, "length": 6}))
    return values, known_shapes(file, values)


def _walk(file: File, shapes: OptimisedShapes) -> dict[str, Value]:
    values = {**shapes.inputs(), **file.body.constants}
    for node in file.body.nodes:
        inputs = [values[name] if name else None for name in node.inputs]
        values.update(zip(node.outputs, shapes.outputs(node, inputs, {}), strict=True))
    return values


def test_names_pass_through_and_what_is_made_of_shapes_is_lost(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1]),
        helper.make_node("Shape", ["b"], ["s"]),
        helper.make_node("Reshape", ["x", "s"], ["c"]),
        helper.make_node("Reshape", ["x", "t"], ["d"]),
    ]
    weights = {"w": np.ones((8, 8), np.float32), "t": np.array([0, -1, 4])}
    values, known = _known(tmp_path, nodes, ["batch", "length", 8], **weights)
    assert known["a"] == ("batch", "length", 8)
    assert known["b"] == ("batch", 8, "length")
    assert known["c"] == (None, None, None)
    assert values["c"].shape == (2, 8, 6)
    assert known["d"] is not None
    assert known["d"][0] == "batch"
    assert values["d"].shape == (2, 12, 4)


def test_products_with_transpositions_in_them(tmp_path: Path) -> None:
    nodes = [helper.make_node("FusedMatMul", ["x", "x"], ["a"], domain="com.microsoft", transB=1)]
    values, known = _known(tmp_path, nodes, ["batch", "length", 8])
    assert known["a"] == ("batch", "length", "length")
    assert values["a"].shape == (2, 6, 6)


def test_what_leaves_a_shape_as_it_is(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuickGelu", ["x"], ["a"], domain="com.microsoft"),
        helper.make_node("SkipLayerNormalization", ["a", "x", "g"], ["b"], domain="com.microsoft"),
    ]
    _, known = _known(tmp_path, nodes, ["batch", "length", 8], g=np.ones(8, np.float32))
    assert known["a"] == known["b"] == ("batch", "length", 8)


def test_blocked_convolutions(tmp_path: Path) -> None:
    """Channels are in blocks of eight, until they are put back in order."""
    blocked = "com.microsoft.nchwc"
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], domain=blocked, pads=[1, 1, 1, 1], activation="Relu"),
        helper.make_node("MaxPool", ["a"], ["b"], domain=blocked, kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Upsample", ["b"], ["c"], domain=blocked, scales=[1, 1, 4, 4]),
        helper.make_node("ReorderOutput", ["c"], ["d"], domain=blocked, channels=5),
        helper.make_node("ReorderOutput", ["c"], ["e"], domain=blocked, channels=5, channels_last=1),
        helper.make_node("ReorderInput", ["e"], ["f"], domain=blocked, channels_last=1),
    ]
    values, known = _known(tmp_path, nodes, ["batch", 3, 10, 10], w=np.ones((8, 3, 3, 3), np.float32))
    assert [values[name].shape for name in "abcdef"] == [
        (2, 8, 10, 10),
        (2, 8, 5, 5),
        (2, 8, 20, 20),
        (2, 5, 20, 20),
        (2, 20, 20, 5),
        (2, 5, 20, 20),
    ]
    assert known["a"] == ("batch", 8, 10, 10)
    assert known["b"] == ("batch", 8, 5, 5)
    assert known["d"] is None, "nor does it look at what it was"
