"""Shapes of the operators that ONNX Runtime adds to the standard, in the domain com.microsoft.

Its optimiser and its quantiser write them into files. Their definitions: docs/ContribOperators.md of ONNX
Runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx import NodeProto

    from hw_cost_models.graph import Shape
    from hw_cost_models.onnx_file import Node
    from hw_cost_models.onnx_values import Value

Types = list[tuple[int, "Shape"]]
"""Of the outputs, as many as are known: types of elements, and shapes."""


def contributed(node: Node, inputs: Sequence[Value | None]) -> Types | None:
    """The types of the outputs, None for an operator that is not of these."""
    rule = _RULES.get(node.operator)
    return rule(node, inputs) if rule is not None and node.domain in ("", "com.microsoft") else None


def stand_in(node: Node) -> NodeProto | None:
    """A standard node of the same shapes: of one that is standard its own, of one that is not known None."""
    if node.domain != "com.microsoft":
        return node.proto
    if node.operator not in _STANDARD:
        return None
    operator, positions = _STANDARD[node.operator]
    names = node.inputs[positions] if isinstance(positions, slice) else [node.inputs[i] for i in positions]
    attributes = {key: value for key, value in node.attributes.items() if key in _SHAPE_ATTRIBUTES}
    return helper.make_node(operator, list(names), list(node.outputs), **attributes)


def result_type(node: Node, first: Value) -> int:
    """Of what a node makes that has a stand-in: as its first input, or floats where it is told no scale."""
    return TensorProto.FLOAT if node.operator == "QGemm" and len(node.inputs) < 8 else first.element


_STANDARD: dict[str, tuple[str, slice | tuple[int, ...]]] = {
    "FusedConv": ("Conv", (0, 1)),
    "FusedGemm": ("Gemm", (0, 1)),
    "QGemm": ("Gemm", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearConcat": ("Concat", slice(2, None, 3)),
}

_SHAPE_ATTRIBUTES = {
    "auto_pad",
    "axis",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "group",
    "kernel_shape",
    "pads",
    "strides",
    "transA",
    "transB",
}


def _given(inputs: Sequence[Value | None], position: int) -> Value:
    value = inputs[position]
    assert value is not None  # required by the operator
    return value


def _same(node: Node, inputs: Sequence[Value | None]) -> Types:
    """As the first input."""
    first = _given(inputs, 0)
    return [(first.element, first.shape)]


def _normalised(node: Node, inputs: Sequence[Value | None]) -> Types:
    """The output, mean, inverse deviation, and the sum that was normalised."""
    first = _given(inputs, 0)
    one = (TensorProto.FLOAT, (*first.shape[:-1], 1))
    return [(first.element, first.shape), one, one, (first.element, first.shape)]


def _broadcast(*positions: int) -> Callable[[Node, Sequence[Value | None]], Types]:
    def rule(node: Node, inputs: Sequence[Value | None]) -> Types:
        operands = [_given(inputs, position) for position in positions]
        shape = np.broadcast_shapes(*(operand.shape for operand in operands))
        return [(operands[0].element, shape)]

    return rule


def matrix_shapes(node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, Shape]:
    """Of both factors, as they are multiplied: after the transpositions that are part of the node."""
    left, right = _given(inputs, 0).shape, _given(inputs, 1).shape
    if node.attribute("transA", 0):
        left = (*left[:-2], left[-1], left[-2])
    if node.attribute("transB", 0):
        right = (*right[:-2], right[-1], right[-2])
    return left, right


def _product(element: int | None) -> Callable[[Node, Sequence[Value | None]], Types]:
    def rule(node: Node, inputs: Sequence[Value | None]) -> Types:
        left, right = matrix_shapes(node, inputs)
        batch = np.broadcast_shapes(left[:-2], right[:-2])
        return [(element or _given(inputs, 0).element, (*batch, left[-2], right[-1]))]

    return rule


def _packed_product(node: Node, inputs: Sequence[Value | None]) -> Types:
    first = _given(inputs, 0)
    return [(first.element, (*first.shape[:-1], int(node.attribute("N", 0))))]


def _attention(node: Node, inputs: Sequence[Value | None]) -> Types:
    """Input (batch, length, width), weights for query, key and value side by side."""
    first, weights = _given(inputs, 0), _given(inputs, 1)
    widths = node.attribute("qkv_hidden_sizes", [weights.shape[1] // 3] * 3)
    heads = int(node.attribute("num_heads", 1))
    batch, length, _ = first.shape
    past = inputs[4].shape[3] if len(inputs) > 4 and inputs[4] is not None else 0
    present = (2, batch, heads, past + length, widths[0] // heads)
    return [(first.element, (batch, length, int(widths[2]))), (first.element, present)]


def _multi_head_attention(node: Node, inputs: Sequence[Value | None]) -> Types:
    """Query (batch, length, width), or (batch, length, heads, 3, size) with key and value in it."""
    query = _given(inputs, 0)
    batch, length, *_ = query.shape
    value = inputs[2] if len(inputs) > 2 else None
    if value is None:
        return [(query.element, (batch, length, query.shape[2] * query.shape[-1]))]
    width = value.shape[-1] if len(value.shape) == 3 else value.shape[1] * value.shape[-1]
    return [(query.element, (batch, length, width))]


def _grouped_attention(node: Node, inputs: Sequence[Value | None]) -> Types:
    """Query (batch, length, width), key and value of fewer heads, or side by side with it; and the cache."""
    query = _given(inputs, 0)
    heads, key_heads = int(node.attribute("num_heads", 1)), int(node.attribute("kv_num_heads", 1))
    batch, length, width = query.shape
    packed = len(inputs) < 2 or inputs[1] is None
    size = width // (heads + 2 * key_heads) if packed else width // heads
    past = inputs[3].shape[2] if len(inputs) > 3 and inputs[3] is not None else 0
    total = inputs[6] if len(inputs) > 6 else None
    so_far = int(total.data) if total is not None and total.data is not None else past + length
    cache = (query.element, (batch, key_heads, max(past, so_far), size))
    return [(query.element, (batch, length, heads * size)), cache, cache]


_RULES: dict[str, Callable[[Node, Sequence[Value | None]], Types]] = {
    **dict.fromkeys(("BiasGelu", "BiasSoftmax", "FastGelu", "Gelu", "QuickGelu", "RotaryEmbedding"), _same),
    **dict.fromkeys(("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"), _same),
    **dict.fromkeys(("LayerNormalization", "SimplifiedLayerNormalization"), _same),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), _normalised),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _broadcast(0, 3)),
    "FusedMatMul": _product(None),
    "TransposeMatMul": _product(None),
    "DynamicQuantizeMatMul": _product(TensorProto.FLOAT),
    "MatMulIntegerToFloat": _product(TensorProto.FLOAT),
    "MatMulNBits": _packed_product,
    "Attention": _attention,
    "GroupQueryAttention": _grouped_attention,
    "MultiHeadAttention": _multi_head_attention,
}
