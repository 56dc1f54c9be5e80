"""Operations of ONNX operators by hand, and which operators are covered."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import onnx
import pytest

from hw_cost_models.onnx_formulas import FORMULAS
from tests.hw_cost_models.onnx_texts import graph_of, running

if TYPE_CHECKING:
    from pathlib import Path

_NO_TENSORS = {
    # Sequences, optional values, text and pictures.
    *("ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt"),
    *("SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength"),
    *("SequenceMap", "SplitToSequence", "ImageDecoder", "RegexFullMatch", "StringConcat"),
    *("StringNormalizer", "StringSplit", "TfIdfVectorizer"),
}
_ELSEWHERE = {"Constant", "If", "Loop", "Scan"}
_WITHOUT = {
    # Of training, of detection, or rare: an error that says so.
    *("CausalConvWithState", "Det", "LinearAttention", "MaxRoiPool", "MelWeightMatrix"),
    *("NegativeLogLikelihoodLoss", "NonMaxSuppression", "RoiAlign", "SoftmaxCrossEntropyLoss"),
}


def test_every_operator_of_the_standard_is_covered_or_known_not_to_be() -> None:
    standard = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert standard - FORMULAS.keys() <= _NO_TENSORS | _ELSEWHERE | _WITHOUT
    assert not FORMULAS.keys() & (_NO_TENSORS | _ELSEWHERE | _WITHOUT)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("(float[4,6] x) => (float[4,6] y) { y = Exp(x) }", "elementwise", 24),
        ("(float[4,6] x, float[4,1] z) => (float[4,6] y) { y = Add(x, z) }", "elementwise", 24),
        ("(float[4,6] x) => (float[4,6] y) { y = Sum(x, x, x) }", "elementwise", 2 * 24),
        ("(float[4,6] x) => (float[4,6] y) { y = Softmax(x) }", "normalisation", 5 * 24),
        (
            "(float[4,6] x, float[6] s) => (float[4,6] y) { y = LayerNormalization(x, s) }",
            "normalisation",
            8 * 24,
        ),
        ("(float[1,4,6] x) => (float[1,4,6] y) { y = LRN <size = 3> (x) }", "normalisation", (3 + 5) * 24),
        (
            "(float[4,6] x) => (float[6] y) <int64[1] a = {0}> { y = ReduceSum <keepdims=0> (x, a) }",
            "reduction",
            24,
        ),
        ("(float[4,6] x) => (float[1,1] y) { y = ReduceL2(x) }", "reduction", 2 * 24),
        ("(float[1,4,6] x) => (float[1,4,1] y) { y = GlobalAveragePool(x) }", "reduction", 24),
        (
            "(float[1,4,6,6] x) => (float[1,4,3,3] y) "
            "{ y = MaxPool <kernel_shape=[2,2], strides=[2,2]> (x) }",
            "reduction",
            4 * 9 * 4,
        ),
        (
            "(float[4,6] x) => (float[4,4] v, int64[4,4] i) <int64[1] k = {4}> { v, i = TopK(x, k) }",
            "reduction",
            48,
        ),
        ("(float[4,6] x) => (float[4,6] y) <int64 a = {1}> { y = CumSum(x, a) }", "scan", 24),
        ("(float[4,6] x) => (float[6,4] y) { y = Transpose(x) }", "movement", 0),
        ("(float[4,6] x) => (float[8,6] y) { y = Concat <axis = 0> (x, x) }", "movement", 0),
        (
            "(float[4,6] x, float[2,6] u) => (float[4,6] y) <int64[2,1] i = {0, 2}> "
            "{ y = ScatterND(x, i, u) }",
            "movement",
            0,
        ),
        (
            "(float[4,6] x, float[2,6] u) => (float[4,6] y) <int64[2,1] i = {0, 2}>"
            '{ y = ScatterND <reduction = "add"> (x, i, u) }',
            "movement",
            12,
        ),
        ("(float[4,6] x, float[6,3] w) => (float[4,3] y) { y = MatMul(x, w) }", "matmul", 2 * 4 * 6 * 3),
        (
            "(float[6,4] x, float[3,6] w) => (float[4,3] y) { y = Gemm <transA=1, transB=1> (x, w) }",
            "matmul",
            144,
        ),
        ("(float[6] x, float[5,6,3] w) => (float[5,3] y) { y = MatMul(x, w) }", "matmul", 2 * 5 * 6 * 3),
        ("(int8[4,6] x, int8[6,3] w) => (int32[4,3] y) { y = MatMulInteger(x, w) }", "matmul", 144),
        (
            "(float[2,4,6] x, float[2,6,3] w) => (float[2,4,3] y) "
            '{ y = Einsum <equation = "b i k, bkj -> bij"> (x, w) }',
            "matmul",
            2 * 2 * 4 * 6 * 3,
        ),
        (
            "(float[2,4,6] x, float[6,3] w) => (float[2,4,3] y) "
            '{ y = Einsum <equation = "...k,kj->...j"> (x, w) }',
            "matmul",
            2 * 2 * 4 * 6 * 3,
        ),
        (
            "(float[2,4,9,9] x, float[8,2,3,3] w) => (float[2,8,7,7] y) { y = Conv <group = 2> (x, w) }",
            "convolution",
            2 * (2 * 8 * 49) * (2 * 9),
        ),
        (
            "(float[2,4,9] x, float[4,3,2] w) => (float[2,3,18] y) "
            "{ y = ConvTranspose <strides = [2]> (x, w) }",
            "convolution",
            2 * (2 * 4 * 9) * (3 * 2),
        ),
        (
            "(float[5,2,4] x, float[1,12,4] w, float[1,12,3] r) => (float[5,1,2,3] y) "
            "{ y = LSTM <hidden_size=3>(x, w, r) }",
            "scan",
            5 * 2 * (2 * 12 * (4 + 3) + 13 * 3),
        ),
        (
            "(float[5,2,4] x, float[2,9,4] w, float[2,9,3] r) => (float[5,2,2,3] y)"
            '{ y = GRU <hidden_size = 3, direction = "bidirectional"> (x, w, r) }',
            "scan",
            5 * 2 * 2 * (2 * 9 * (4 + 3) + 10 * 3),
        ),
        (
            "(float[1,2,6,8] q, float[1,2,10,8] k, float[1,2,10,4] v) => (float[1,2,6,4] y) "
            "{ y = Attention(q, k, v) }",
            "attention",
            2 * 6 * 10 * (2 * 8 + 5 + 2 * 4),
        ),
        (
            "(float[1,6,16] q, float[1,10,8] k, float[1,10,8] v) => (float[1,6,16] y)"
            "{ y = Attention <q_num_heads = 4, kv_num_heads = 2> (q, k, v) }",
            "attention",
            4 * 6 * 10 * (2 * 4 + 5 + 2 * 4),
        ),
        (
            "(float[1,1,4,6] x) => (float[1,1,8,6] y) <float[4] s = {1.0, 1.0, 2.0, 1.0}>"
            '{ y = Resize <mode = "linear"> (x, , s) }',
            "elementwise",
            3 * 48,
        ),
        (
            "(float[1,1,4,6] x) => (float[1,1,8,12] y) <float[4] s = {1.0, 1.0, 2.0, 2.0}> "
            "{ y = Resize (x, , s) }",
            "elementwise",
            0,
        ),
        ("(float[1,8,1] x) => (float[1,8,2] y) <int64 a = {1}> { y = DFT (x, , a) }", "other", 2.5 * 8 * 3),
        ("(float[1,8,2] x) => (float[1,8,2] y) <int64 a = {1}> { y = DFT (x, , a) }", "other", 5 * 8 * 3),
        (
            "(float[1,16] x) => (float[1,3,5,2] y) <int64 step = {4}, float[8] window> "
            "{ y = STFT <onesided = 1> (x, step, window) }",
            "other",
            3 * (8 + 2.5 * 8 * 3),
        ),
        ("(float[8] x) => (float[n] y) { y = Unique (x) }", "reduction", 8 * math.log2(8)),
        (
            "(float[4,6] x) => (uint8[4,6] y) <float s = {0.1}, uint8 z> { y = QuantizeLinear(x, s, z) }",
            "elementwise",
            96,
        ),
        (
            "(uint8[4,6] x) => (float[4,6] y) <float s = {0.1}, uint8 z> { y = DequantizeLinear(x, s, z) }",
            "elementwise",
            48,
        ),
    ],
)
def test_by_hand(tmp_path: Path, text: str, kind: str, expected: float) -> None:
    versions = '<ir_version: 11, opset_import: ["" : 23, "com.microsoft" : 1]> g '
    (node,) = running(graph_of(tmp_path, versions + text, {"Unique": 8}))
    assert (node["kind"], node["flops"]) == (kind, pytest.approx(expected))


@pytest.mark.parametrize("missing", ["Softmax(x)", "Dropout(x)", "Identity(x)"])
def test_arithmetic_is_in_the_type_of_the_tensor(tmp_path: Path, missing: str) -> None:
    graph = graph_of(tmp_path, f"g (float16[4,6] x) => (float16[4,6] y) {{ y = {missing} }}")
    assert graph.nodes[0]["dtype"] == "float16"
    assert graph.nodes[0]["free"] == (missing != "Softmax(x)")
