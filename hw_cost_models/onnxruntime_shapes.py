"""Shapes in a graph that ONNX Runtime has optimised: as numbers, and as far as it knows them itself.

Its optimiser puts convolutions into the domain com.microsoft.nchwc: channels in blocks, weights reordered to
match. ONNX Runtime decides which buffers to share before it knows the inputs, by the shapes that ONNX's
inference gives it: a free dimension is a name there, and what follows from data, or from a free dimension by
way of `Shape` and `Reshape`, is unknown. Two shapes are the same to it if numbers and names are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TypeProto, helper, numpy_helper

from hw_cost_models.onnx_contrib import stand_in
from hw_cost_models.onnx_shapes import ShapeInference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hw_cost_models.onnx_file import File, Node
    from hw_cost_models.onnx_values import Value

Known = tuple[int | str | None, ...]
"""A shape as the runtime knows it: numbers, names of free dimensions, None where it knows nothing."""

_BLOCKED = "com.microsoft.nchwc"
_WINDOWED = ("AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
_WINDOW = ("auto_pad", "ceil_mode", "dilations", "group", "kernel_shape", "pads", "strides")


class OptimisedShapes(ShapeInference):
    """Of the nodes of an optimised graph, with the dimensions that are free in it set to numbers."""

    def _types(self, node: Node, inputs: Sequence[Value | None]) -> dict[str, TypeProto]:
        proto = _stand_in(node) if node.domain else None
        if proto is not None:
            schema = onnx.defs.get_schema(proto.op_type)  # they are made for any version
            return self._standard(node, proto, schema, dict(zip(node.inputs, inputs, strict=True)))
        if node.domain != _BLOCKED:
            return super()._types(node, inputs)
        first = inputs[0]
        assert first is not None  # required by all of them
        batch, channels, *window = first.shape
        channels_last = node.attribute("channels_last", 0)
        if node.operator == "Upsample":
            factors = node.attribute("scales", [1] * len(first.shape))
            shape = tuple(size * factor for size, factor in zip(first.shape, factors, strict=True))
        elif node.operator == "ReorderOutput":
            channels = node.attribute("channels", channels)
            shape = (batch, *window, channels) if channels_last else (batch, channels, *window)
        else:
            shape = (batch, window[-1], channels, *window[:-1]) if channels_last else first.shape
        return {node.outputs[0]: helper.make_tensor_type_proto(first.element, shape)}


def known_shapes(file: File, values: Mapping[str, Value]) -> dict[str, Known | None]:
    """What the runtime knows of every value's shape, None where not even the number of dimensions.

    `values` are all of the graph's, with their shapes as numbers.
    """
    shapes: dict[str, Known | None] = {name: value.shape for name, value in file.body.constants.items()}
    for declared in file.body.inputs:
        shapes[declared.name] = _shape(declared.type)
    for node in file.body.nodes:
        shapes.update(dict.fromkeys(filter(None, node.outputs)))
        shapes.update(_inferred(file, node, shapes, values))
    return shapes


def _inferred(
    file: File, node: Node, shapes: Mapping[str, Known | None], values: Mapping[str, Value]
) -> Mapping[str, Known | None]:
    """Of the outputs of one node, as many as can be told."""
    if node.operator == "FusedMatMul":
        return {node.outputs[0]: _product(node, shapes[node.inputs[0]], shapes[node.inputs[1]])}
    proto = _stand_in(node)
    if proto is None or not onnx.defs.has(proto.op_type):
        return _like_the_first(node, shapes, values)
    names = [name for name in proto.input if name in shapes]
    data = {name: file.body.constants[name].data for name in names if name in file.body.constants}
    version = onnx.defs.onnx_opset_version() if node.domain else file.opsets[""]
    inferred = onnx.shape_inference.infer_node_outputs(
        onnx.defs.get_schema(proto.op_type, version),
        proto,
        {name: helper.make_tensor_type_proto(values[name].element, shapes[name]) for name in names},
        {name: numpy_helper.from_array(array) for name, array in data.items() if array is not None},
    )
    return {name: _shape(kind) for name, kind in inferred.items()}


def _stand_in(node: Node) -> onnx.NodeProto | None:
    """A standard node of the same shapes, None where there is none."""
    if node.domain == _BLOCKED:
        return _unblocked(node) if node.operator in _WINDOWED else None
    return None if node.bodies else stand_in(node)


def _unblocked(node: Node) -> onnx.NodeProto:
    """The standard's own operator, without what was fused into it."""
    attributes = {key: value for key, value in node.attributes.items() if key in _WINDOW}
    return helper.make_node(node.operator, node.inputs[:2], node.outputs, **attributes)


def _like_the_first(
    node: Node, shapes: Mapping[str, Known | None], values: Mapping[str, Value]
) -> dict[str, Known | None]:
    """Of operators that leave a shape as it is."""
    first, output = node.inputs[0], node.outputs[0]
    same = output in values and values[first].shape == values[output].shape
    return {output: shapes[first]} if same else {}


def _product(node: Node, left: Known | None, right: Known | None) -> Known | None:
    """Of a matrix product with transpositions in it."""
    if left is None or right is None:
        return None
    rows = left[-1] if node.attribute("transA", 0) else left[-2]
    columns = right[-2] if node.attribute("transB", 0) else right[-1]
    outer, other = sorted((left[:-2], right[:-2]), key=len, reverse=True)
    return (*(outer if outer == other or not other else (None,) * len(outer)), rows, columns)


def _shape(kind: TypeProto) -> Known | None:
    tensor = kind.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor.shape.dim
    )
