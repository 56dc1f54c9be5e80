"""What ONNX Runtime's CPU kernels take from the arena to work in, beside their inputs and outputs.

Found in its own log, by running every operator alone (1.32, x86-64); where a rule says why, that is its
kernel's source. Matrix products pack on the stack; most elementwise operators and normalisations take
nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hw_cost_models.onnx_file import Node
    from hw_cost_models.onnx_values import Value

    Rule = Callable[[Node, Sequence[Value | None], Sequence[Value | None]], list[int]]

_FLOAT = 4
_CONVOLUTION = 16384 * _FLOAT
"""Of a thread: columns of the image are made and multiplied piece by piece (mlas/lib/convolve.cpp)."""


def workspace(
    node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None], threads: int
) -> list[int]:
    """Bytes of each block that is taken when the outputs are there, and given back at the end."""
    if node.operator in ("Conv", "FusedConv") and node.domain in ("", "com.microsoft"):
        return _convolution(node, inputs, outputs, threads)
    rule = _RULES.get((node.domain, node.operator))
    return rule(node, inputs, outputs) if rule is not None else []


def _convolution(
    node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None], threads: int
) -> list[int]:
    _, weight = _given(inputs)[:2]
    window, (output,) = weight.shape[2:], _given(outputs)
    plain = set(node.attribute("strides", [1])) == {1} and not any(node.attribute("pads", [0]))
    if math.prod(window) == 1 and plain:
        return []  # a matrix product of the input as it is
    group = int(node.attribute("group", 1))
    pixels, filters = math.prod(output.shape[2:]), weight.shape[0] // group
    if filters > pixels:  # the columns of one image at once
        return [pixels * math.prod(weight.shape[1:]) * _FLOAT]
    return [threads * _CONVOLUTION]


def _transposed_convolution(
    node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None]
) -> list[int]:
    source, weight = _given(inputs)[:2]
    return [weight.bytes, math.prod(weight.shape[1:]) * math.prod(source.shape[2:]) * _FLOAT]


def _recurrent(node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None]) -> list[int]:
    """Of each direction its states and all gates of all steps; of two the input and the output reversed."""
    source, weight, recurrent = _given(inputs)[:3]
    length, batch, _ = source.shape
    directions, rows, _ = weight.shape
    state = batch * recurrent.shape[-1] * _FLOAT
    blocks = [state, state, state, length * batch * rows * _FLOAT] * directions
    return blocks if directions == 1 else [*blocks, source.bytes, length * state]


def _like_the_output(
    node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None]
) -> list[int]:
    return [_given(outputs)[0].bytes]


def _copies_of_inputs(
    node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None]
) -> list[int]:
    """Permuted for the product that they go into."""
    return [value.bytes for value in _given(inputs)]


def _einsum(node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None]) -> list[int]:
    """Of two operands: both permuted, and their product before it is permuted back."""
    return [value.bytes for value in (*_given(inputs), *_given(outputs))]


def _softmax(node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None]) -> list[int]:
    """Over another axis than the last it works on a permuted copy, into another."""
    (output,) = _given(outputs)
    rank = len(output.shape)
    last = node.attribute("axis", -1) % rank == rank - 1
    return [] if last else [output.bytes, output.bytes]


def _local_response(node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None]) -> list[int]:
    """The divisor of every element, and the squares of one image with channels around them."""
    (output,) = _given(outputs)
    _, channels, *window = output.shape
    wide = channels + int(node.attribute("size", 1)) - 1
    return [output.bytes, wide * math.prod(window) * _FLOAT]


def _where(node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None]) -> list[int]:
    """What is chosen of either side, before the two are merged."""
    return [_given(outputs)[0].bytes] * 2


def _scores(node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None]) -> list[int]:
    """Attention of the standard: the scores of all heads, and the scaled query."""
    query, key = _given(inputs)[:2]
    output = _given(outputs)[0]
    if len(query.shape) == 4:
        batch, heads, length, _ = query.shape
        against = key.shape[2]
    else:
        batch, length, _ = query.shape
        heads, against = int(node.attribute("q_num_heads", 1)), key.shape[1]
    return [batch * heads * length * against * _FLOAT, output.bytes]


def _fused_attention(
    node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value | None]
) -> list[int]:
    """com.microsoft's: query, key and value of the projection, the scores, and the result by heads."""
    output = _given(outputs)[0]
    batch, length, _ = output.shape
    heads = int(node.attribute("num_heads", 1))
    return [3 * output.bytes, batch * heads * length * length * _FLOAT, output.bytes]


def _given(values: Sequence[Value | None]) -> list[Value]:
    return [value for value in values if value is not None]


_RULES: dict[tuple[str, str], Rule] = {
    ("", "ConvTranspose"): _transposed_convolution,
    ("", "GRU"): _recurrent,
    ("", "LSTM"): _recurrent,
    ("", "Einsum"): _einsum,
    ("", "Softmax"): _softmax,
    ("", "LogSoftmax"): _softmax,
    ("", "LRN"): _local_response,
    ("", "Where"): _where,
    ("", "Attention"): _scores,
    ("com.microsoft", "Attention"): _fused_attention,
    ("com.microsoft", "BiasGelu"): _like_the_output,
    ("com.microsoft", "MultiHeadAttention"): _copies_of_inputs,
}
