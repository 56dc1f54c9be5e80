"""Operators of PyTorch's quantised libraries, by name: they exist only once their libraries are imported."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hw_cost_models.aten_counts import per_element, per_input_element
from hw_cost_models.graph import Formula
from hw_cost_models.operations import DEQUANTISE, QUANTISE

if TYPE_CHECKING:
    from hw_cost_models.graph import Kind
    from hw_cost_models.operator_call import Call, Count


def _product(call: Call) -> float:
    """Packed weights are unpacked: the input is the first tensor and the weight the second."""
    return 2 * call.elements * int(call.inputs[0].shape[-1])


def _convolution(call: Call) -> float:
    """One kernel for each element of the output; along one dimension it is packed as one of two."""
    return 2 * call.elements * math.prod(call.inputs[1].shape[1:])


def _named(library: str, kind: Kind, flops: Count, *names: str) -> dict[str, Formula[Call]]:
    return {f"{library}.{name}": Formula(kind, flops) for name in names}


FORMULAS: dict[str, Formula[Call]] = {
    **_named(
        "quantized_decomposed",
        "elementwise",
        per_element(QUANTISE),
        "quantize_per_tensor",
        "quantize_per_channel",
        "quantize_per_channel_group",
        "quantize_per_token",
    ),
    **_named(
        "quantized_decomposed",
        "elementwise",
        per_element(DEQUANTISE),
        "dequantize_per_tensor",
        "dequantize_per_channel",
        "dequantize_per_channel_group",
        "dequantize_per_token",
    ),
    **_named(
        "quantized_decomposed",
        "elementwise",
        per_element(QUANTISE + DEQUANTISE),
        "fake_quant_per_channel",
    ),
    **_named("quantized_decomposed", "elementwise", per_element(1), "convert_element_type"),
    **_named(
        "quantized_decomposed",
        "reduction",
        per_input_element(2),
        "choose_qparams",
        "choose_qparams_per_token",
        "choose_qparams_per_token_asymmetric",
        "choose_qparams_symmetric",
        "_choose_qparams_per_token_asymmetric_impl",
    ),
    **_named(
        "quantized",
        "matmul",
        _product,
        "linear",
        "linear_relu",
        "linear_dynamic",
        "linear_relu_dynamic",
    ),
    **_named(
        "quantized",
        "convolution",
        _convolution,
        "conv1d",
        "conv1d_relu",
        "conv2d",
        "conv2d_relu",
        "conv3d",
        "conv3d_relu",
    ),
}
