"""What each operator of ONNX is, and the count of its operations.

To add an operator, add its name to a line here. Operators in the domain com.microsoft are those that ONNX
Runtime's optimiser and quantiser write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw_cost_models import onnx_counts as counts
from hw_cost_models import operations
from hw_cost_models.errors import UnknownOperatorError
from hw_cost_models.graph import Formula
from hw_cost_models.onnx_counts import Call, per_element, per_input_element
from hw_cost_models.onnx_shapes import full_name

if TYPE_CHECKING:
    from pathlib import Path

    from hw_cost_models.graph import Kind, Unknown
    from hw_cost_models.onnx_counts import Count
    from hw_cost_models.onnx_file import Node

VIEWS = {"BitCast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
"""The same bytes under another shape; `Cast` to the type it is given as well."""

PICKS_ROWS = {"Compress", "Gather", "GatherElements", "GatherND", "Slice"}
"""Read no more of their first input than they write."""

SHAPES_ONLY = {"Shape", "Size"}
"""Read nothing of their input."""

_EIGHT_BITS_INSIDE = 4
"""The accuracy level at which MatMulNBits makes int8 of its inputs (onnxruntime/docs/ContribOperators.md)."""


def runs_on_integers(node: Node) -> bool:
    """Whether it takes floats and makes integers of them inside."""
    if full_name(node) == "com.microsoft.MatMulNBits":
        return bool(node.attribute("accuracy_level", 0) == _EIGHT_BITS_INSIDE)
    return full_name(node) == "com.microsoft.DynamicQuantizeMatMul"


def price(path: Path, call: Call, unknown: Unknown) -> tuple[Kind, float, bool]:
    """The kind of the operator, the operations of the call, and whether a formula is known.

    Raises UnknownOperatorError when none is, unless unknown ones are to be skipped.
    """
    formula = FORMULAS.get(full_name(call.node))
    if formula is not None:
        return formula.kind, formula.flops(call), True
    if unknown == "skip":
        return "other", 0.0, False
    raise UnknownOperatorError(
        f"{path}: no formula for the operator {full_name(call.node)} ({call.node.name!r}): "
        'read the file with unknown="skip" and see the coverage'
    )


def _same(kind: Kind, flops: Count, names: str) -> dict[str, Formula[Call]]:
    return dict.fromkeys(names.split(), Formula(kind, flops))


def _microsoft(kind: Kind, flops: Count, names: str) -> dict[str, Formula[Call]]:
    return {f"com.microsoft.{name}": Formula(kind, flops) for name in names.split()}


_ELEMENTWISE = _same(
    "elementwise",
    per_element(1),
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr "
    "BitwiseXor Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid "
    "HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Mish Mod Mul Neg Not Or PRelu Pow RandomNormal "
    "RandomNormalLike RandomUniform RandomUniformLike Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin "
    "Sinh Softplus Softsign Sqrt Sub Swish Tan Tanh ThresholdedRelu Where Xor",
)

_SEVERAL = {
    **_same("elementwise", counts.every_input, "Max Mean Min Sum"),
    **_same("elementwise", per_element(2), "SwiGLU"),
    **_same("elementwise", per_element(3), "RotaryEmbedding"),  # two products and a sum
    **_same("elementwise", per_element(operations.QUANTISE), "QuantizeLinear"),
    **_same("elementwise", per_element(operations.DEQUANTISE), "DequantizeLinear"),
    # Both limits first, then as above.
    **_same("elementwise", per_element(2 + operations.QUANTISE), "DynamicQuantizeLinear"),
    **_same("elementwise", counts.resize, "Resize Upsample"),
    **_same("elementwise", counts.grid_sample, "GridSample"),
}

_MOVEMENT = {
    **_same(
        "movement",
        per_element(0),
        "AffineGrid BitCast BlackmanWindow Cast CastLike CenterCropPad Compress Concat ConstantOfShape "
        "DepthToSpace Dropout Expand EyeLike Flatten Gather GatherElements GatherND HammingWindow HannWindow "
        "Identity MaxUnpool NonZero OneHot Pad Range Reshape ReverseSequence Shape Size Slice SpaceToDepth "
        "Split Squeeze TensorScatter Tile Transpose Trilu Unsqueeze",
    ),
    **_same("movement", counts.scattered, "Scatter ScatterElements ScatterND"),
    **_same("movement", per_input_element(1), "Col2Im"),
}

_PRODUCTS = {
    **_same("matmul", counts.product, "Gemm MatMul MatMulInteger QLinearMatMul"),
    **_same("matmul", counts.einsum, "Einsum"),
    **_same("convolution", counts.convolution(1), "Conv ConvInteger DeformConv"),
    **_same("convolution", counts.convolution(3), "QLinearConv"),
    **_same("convolution", counts.transposed_convolution, "ConvTranspose"),
    **_same("attention", counts.attention, "Attention"),
    **{name: Formula("scan", counts.recurrent_layer(name)) for name in ("GRU", "LSTM", "RNN")},
}

_NORMALISATIONS = {
    **_same("normalisation", per_element(operations.SOFTMAX), "LogSoftmax Softmax"),
    **_same("normalisation", per_element(operations.BATCH_NORM), "BatchNormalization"),
    **_same(
        "normalisation", per_element(operations.RMS_NORM), "RMSNormalization SimplifiedLayerNormalization"
    ),
    **_same(
        "normalisation",
        per_element(operations.NORM),
        "GroupNormalization InstanceNormalization LayerNormalization MeanVarianceNormalization",
    ),
    **_same("normalisation", per_element(3), "LpNormalization"),
    **_same("normalisation", counts.local_response_norm, "LRN"),
}

_REDUCTIONS = {
    **_same(
        "reduction",
        per_input_element(1),
        "ArgMax ArgMin GlobalAveragePool GlobalMaxPool Hardmax Multinomial ReduceL1 ReduceMax ReduceMean "
        "ReduceMin ReduceProd ReduceSum",
    ),
    **_same("reduction", per_input_element(2), "GlobalLpPool ReduceL2 ReduceLogSum ReduceSumSquare"),
    **_same("reduction", per_input_element(4), "ReduceLogSumExp"),
    **_same("reduction", counts.pool, "AveragePool LpPool MaxPool"),
    **_same("reduction", counts.topk, "TopK"),
    **_same("reduction", counts.sort_all, "Unique"),
    **_same("scan", per_element(1), "CumProd CumSum"),
    **_same("other", counts.fourier, "DFT"),
    **_same("other", counts.short_time_fourier, "STFT"),
}

_ADDED_BY_ONNX_RUNTIME = {
    **_microsoft(
        "matmul", counts.product, "DynamicQuantizeMatMul FusedGemm FusedMatMul MatMulIntegerToFloat"
    ),
    **_microsoft("matmul", counts.product, "MatMulNBits QGemm TransposeMatMul"),
    **_microsoft("convolution", counts.convolution(1), "FusedConv"),
    **_microsoft("attention", counts.projected_attention, "Attention"),
    **_microsoft("attention", counts.multi_head_attention, "MultiHeadAttention"),
    **_microsoft("attention", counts.grouped_attention, "GroupQueryAttention"),
    **_microsoft("elementwise", per_element(1), "FastGelu Gelu QuickGelu"),
    **_microsoft("elementwise", per_element(2), "BiasGelu"),
    **_microsoft("elementwise", per_element(3), "RotaryEmbedding"),
    **_microsoft("elementwise", per_element(operations.QUANTISE), "QuantizeLinear"),
    **_microsoft("elementwise", per_element(operations.DEQUANTISE), "DequantizeLinear"),
    **_microsoft(
        "elementwise",
        per_element(operations.QUANTISE + operations.DEQUANTISE),
        "QLinearAdd QLinearLeakyRelu QLinearMul QLinearSigmoid",
    ),
    **_microsoft("movement", per_element(0), "QLinearConcat"),
    **_microsoft("normalisation", per_element(operations.SOFTMAX), "QLinearSoftmax"),
    **_microsoft("normalisation", per_element(1 + operations.SOFTMAX), "BiasSoftmax"),
    **_microsoft("normalisation", per_element(1 + operations.NORM), "SkipLayerNormalization"),
    **_microsoft("normalisation", per_element(1 + operations.RMS_NORM), "SkipSimplifiedLayerNormalization"),
    **_microsoft("reduction", counts.pool, "QLinearAveragePool"),
    **_microsoft("reduction", per_input_element(1), "QLinearGlobalAveragePool"),
}

FORMULAS: dict[str, Formula[Call]] = {
    **_ELEMENTWISE,
    **_SEVERAL,
    **_MOVEMENT,
    **_PRODUCTS,
    **_NORMALISATIONS,
    **_REDUCTIONS,
    **_ADDED_BY_ONNX_RUNTIME,
}
