"""Operators that ONNX Runtime adds: shapes against the runtime, operations by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from hw_cost_models.onnx_graph import read_onnx
from tests.hw_cost_models.onnx_texts import model_of

if TYPE_CHECKING:
    from pathlib import Path

_TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64}

_CASES = [
    ("(float[2,4,6] x) => (y) { y = com.microsoft.FastGelu(x) }", 48),
    ("(float[2,4,6] x, float[6] b) => (y) { y = com.microsoft.BiasGelu(x, b) }", 2 * 48),
    ("(float[2,4,6] x, float[6] s) => (y) { y = SimplifiedLayerNormalization(x, s) }", 4 * 48),
    (
        "(float[2,4,6] x, float[2,4,6] r, float[6] s) => (y, t)"
        "{ y, , , t = com.microsoft.SkipLayerNormalization(x, r, s) }",
        9 * 48,
    ),
    (
        "(float[2,4,6] x, float[3,6] w) => (y) { y = com.microsoft.FusedMatMul <transB = 1> (x, w) }",
        2 * 8 * 6 * 3,
    ),
    (
        '(float[4,6] x, float[6,3] w) => (y){ y = com.microsoft.FusedGemm <activation = "Relu"> (x, w) }',
        144,
    ),
    (
        "(float[1,4,9,9] x, float[8,4,3,3] w) => (y)"
        '{ y = com.microsoft.FusedConv <activation = "Relu", pads = [1,1,1,1]> (x, w) }',
        2 * 8 * 81 * 36,
    ),
    (
        "(float[2,4,32] x, uint8[3,1,16] w, float[3] s) => (y)"
        "{ y = com.microsoft.MatMulNBits <K = 32, N = 3, bits = 4, block_size = 32> (x, w, s) }",
        2 * 8 * 32 * 3,
    ),
    (
        "(float[4,6] x, uint8[6,3] w, float[1] s) => (y){ y = com.microsoft.DynamicQuantizeMatMul(x, w, s) }",
        144,
    ),
    (
        "(uint8[4,6] x, uint8[6,3] w, float a, float b) => (y)"
        "{ y = com.microsoft.MatMulIntegerToFloat(x, w, a, b) }",
        144,
    ),
    (
        "(uint8[2,6] x, float s, uint8 z, uint8[1,6] v) => (y)"
        "{ y = com.microsoft.QLinearAdd(x, s, z, v, s, z, s, z) }",
        6 * 12,
    ),
    (
        "(uint8[1,4,6,6] x, float s, uint8 z) => (y)"
        "{ y = com.microsoft.QLinearAveragePool <kernel_shape = [2,2]> (x, s, z, s, z) }",
        4 * 4 * 25,
    ),
    (
        "(uint8[1,4,6,6] x, float s, uint8 z) => (y)"
        "{ y = com.microsoft.QLinearGlobalAveragePool(x, s, z, s, z) }",
        4 * 36,
    ),
    (
        "(uint8[2,6] x, float s, uint8 z) => (y)"
        "{ y = com.microsoft.QLinearConcat <axis = 0> (s, z, x, s, z, x, s, z) }",
        0,
    ),
    (
        "(uint8[4,6] x, float s, uint8 z, uint8[6,3] w) => (y){ y = com.microsoft.QGemm(x, s, z, w, s, z) }",
        144,
    ),
    (
        "(float[2,5,8] x, float[8,24] w, float[24] b) => (y)"
        "{ y = com.microsoft.Attention <num_heads = 2> (x, w, b) }",
        2 * (2 * 5 * 8) * 24 + 2 * 2 * 5 * 5 * (2 * 4 + 5 + 2 * 4),
    ),
    (
        "(float[2,5,8] q, float[2,7,8] k, float[2,7,8] v) => (y)"
        "{ y = com.microsoft.MultiHeadAttention <num_heads = 2> (q, k, v) }",
        2 * 2 * 5 * 7 * (2 * 4 + 5 + 2 * 4),
    ),
    (
        "(float[1,1,32] q, float[1,1,16] k, float[1,1,16] v, float[1,2,9,8] pk, float[1,2,9,8] pv,"
        " int32[1] l, int32 t) => (y, nk, nv)"
        "{ y, nk, nv = com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2>"
        " (q, k, v, pk, pv, l, t) }",
        4 * 1 * 10 * (2 * 8 + 5 + 2 * 8),
    ),
]


@pytest.mark.parametrize(
    ("text", "flops"), _CASES, ids=[text.split("= ")[-1].split("(")[0] for text, _ in _CASES]
)
def test_shapes_and_operations(tmp_path: Path, text: str, flops: float) -> None:
    model, path = model_of("g " + text), tmp_path / "model.onnx"
    inputs = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        inputs[value.name] = np.ones([d.dim_value for d in tensor.shape.dim], _TYPES[tensor.elem_type])
    inputs.update(
        {"l": np.array([9], np.int32), "t": np.array(10, np.int32)}
        if "t" in inputs and "pk" in inputs
        else {}
    )
    onnx.save(model, path)
    (node,) = (node for _, node in read_onnx(path, {"t": 10}).nodes.data())
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results = session.run(None, inputs)
    made = dict(zip([value.name for value in model.graph.output], results, strict=True))
    outputs = [name for name in model.graph.node[0].output if name]
    assert node["shapes"] == [made[name].shape for name in outputs]
    assert node["dtypes"] == [made[name].dtype.name for name in outputs]
    assert node["flops"] == flops
    assert node["covered"]
