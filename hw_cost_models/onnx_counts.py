"""How many operations a call of an ONNX operator takes, by shape; conventions as in `aten_counts`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hw_cost_models import operations
from hw_cost_models.operations import UNITS, interpolation, sorting

if TYPE_CHECKING:
    from hw_cost_models.onnx_file import Node
    from hw_cost_models.onnx_values import Value


@dataclass(frozen=True)
class Call:
    """A node with its values; None where it leaves an optional one out."""

    node: Node
    inputs: list[Value | None]
    outputs: list[Value | None]

    @property
    def values(self) -> tuple[list[Value], list[Value]]:
        """The inputs and the outputs that are there."""
        inputs = [value for value in self.inputs if value is not None]
        return inputs, [value for value in self.outputs if value is not None]

    @property
    def elements(self) -> int:
        """Of the first output that is there."""
        return next((value.elements for value in self.outputs if value is not None), 0)

    @property
    def input_elements(self) -> int:
        return self.given(0).elements

    def given(self, position: int) -> Value:
        """An input that the operator requires."""
        value = self.optional(position)
        assert value is not None
        return value

    def optional(self, position: int) -> Value | None:
        return self.inputs[position] if position < len(self.inputs) else None

    def attribute(self, name: str, default: int) -> int:
        return int(self.node.attribute(name, default))

    def output(self, position: int) -> Value:
        """An output that the operator always has."""
        value = self.outputs[position]
        assert value is not None
        return value


Count = Callable[[Call], float]


def per_element(count: float) -> Count:
    return lambda call: count * call.elements


def per_input_element(count: float) -> Count:
    return lambda call: count * call.input_elements


def every_input(call: Call) -> float:
    """One operation for each element of the output and each input beyond the first."""
    return call.elements * max(len(call.inputs) - 1, 1)


def product(call: Call) -> float:
    """A matrix product: the sum is over the left factor's last dimension, or its first if transposed."""
    left = call.given(0).shape
    return 2 * call.elements * left[-2 if call.attribute("transA", 0) else -1]


def convolution(weight: int) -> Count:
    """Every weight is used once at every position of the output."""

    def count(call: Call) -> float:
        return 2 * _positions(call.output(0)) * call.given(weight).elements

    return count


def transposed_convolution(call: Call) -> float:
    """Every weight is used once at every position of the input."""
    return 2 * _positions(call.given(0)) * call.given(1).elements


def _positions(images: Value) -> int:
    return images.elements // max(images.shape[1], 1)


def recurrent_layer(cell: str) -> Count:
    """Every weight once a step, then the units."""

    def count(call: Call) -> float:
        x, of_input, of_state = (call.given(position) for position in range(3))
        units = of_state.shape[0] * call.attribute("hidden_size", of_state.shape[-1])
        products = 2 * (of_input.elements + of_state.elements)
        return x.shape[0] * x.shape[1] * float(products + UNITS[cell] * units)

    return count


def einsum(call: Call) -> float:
    """For every combination of indices an addition, and a product for each factor beyond the first."""
    terms = call.node.attribute("equation", "").replace(" ", "").split("->")[0].split(",")
    operands = [call.given(position) for position in range(len(terms))]
    sizes = dict[str, int]()
    for term, operand in zip(terms, operands, strict=True):
        before, dots, after = term.partition("...")
        rest = len(operand.shape) - len(before) - len(after)
        labels = [*before, *(f".{axis}" for axis in range(rest, 0, -1) if dots), *after]
        for label, size in zip(labels, operand.shape, strict=True):
            sizes[label] = max(sizes.get(label, 1), size)
    return float(len(operands) * math.prod(sizes.values()))


def pool(call: Call) -> float:
    """One operation for each element of each window."""
    return call.elements * float(math.prod(call.node.attribute("kernel_shape", [1])))


def local_response_norm(call: Call) -> float:
    """Squares, sums over neighbouring channels, scale, shift, power, quotient."""
    return call.elements * (call.attribute("size", 1) + 5)


def topk(call: Call) -> float:
    k = call.optional(1)
    count = call.attribute("k", 1) if k is None else call.output(0).shape[call.attribute("axis", -1)]
    return sorting(call.input_elements, count)


def sort_all(call: Call) -> float:
    return sorting(call.input_elements, call.input_elements)


def resize(call: Call) -> float:
    """Two neighbours in each dimension that changes for linear interpolation, four for cubic."""
    neighbours = {"linear": 2, "cubic": 4}.get(call.node.attribute("mode", "nearest"))
    if neighbours is None:
        return 0
    shapes = zip(call.given(0).shape, call.output(0).shape, strict=True)
    return call.elements * interpolation(neighbours ** sum(before != after for before, after in shapes))


def grid_sample(call: Call) -> float:
    neighbours = {"nearest": 0, "cubic": 4, "bicubic": 4}.get(call.node.attribute("mode", "linear"), 2)
    return call.elements * interpolation(neighbours ** (len(call.given(0).shape) - 2)) if neighbours else 0


def fourier(call: Call) -> float:
    """Complex numbers have a last dimension of two."""
    x, y = call.given(0), call.output(0)
    axis = call.optional(2)
    dimension = call.attribute("axis", 1) if axis is None or axis.data is None else int(axis.data)
    real = x.shape[-1] == 1 or bool(call.attribute("onesided", 0))
    whole = max(x.elements // x.shape[-1], y.elements // y.shape[-1])
    return operations.fourier(whole, max(x.shape[dimension], y.shape[dimension]), real)


def short_time_fourier(call: Call) -> float:
    """(batch, frames, frequencies, 2): a product with the window and a transform for each frame."""
    batch, frames, frequencies, _ = call.output(0).shape
    window = call.optional(2)
    length = frequencies if window is None else window.elements
    real = call.given(0).shape[-1] == 1 or len(call.given(0).shape) == 2
    return batch * frames * (length + operations.fourier(length, length, real))


def scattered(call: Call) -> float:
    """One addition for each element of the updates, if they are to be added."""
    return 0 if call.node.attribute("reduction", "none") == "none" else call.given(2).elements


def _softmax_of_scores(query: int, size: int, keys: int, value_size: int) -> float:
    return operations.attention(query // size * keys, size, value_size)


def attention(call: Call) -> float:
    """The standard's: (batch, heads, length, size), or heads side by side in (batch, length, width)."""
    query, key, value = (call.given(position) for position in range(3))
    past = call.optional(4)
    before = past.shape[2] if past is not None else 0
    if len(query.shape) == 4:
        keys, size, value_size = key.shape[2], query.shape[-1], value.shape[-1]
    else:
        size = query.shape[-1] // call.attribute("q_num_heads", 1)
        keys, value_size = key.shape[1], value.shape[-1] // call.attribute("kv_num_heads", 1)
    return _softmax_of_scores(query.elements, size, keys + before, value_size)


def projected_attention(call: Call) -> float:
    """Of com.microsoft: query, key and value are made by one product inside."""
    x, weights = call.given(0), call.given(1)
    widths = call.node.attribute("qkv_hidden_sizes", [weights.shape[1] // 3] * 3)
    heads, past = call.attribute("num_heads", 1), call.optional(4)
    keys = x.shape[1] + (past.shape[3] if past is not None else 0)
    queries = x.shape[0] * x.shape[1] * widths[0]
    projection = 2 * x.elements * weights.shape[1]
    return projection + _softmax_of_scores(queries, widths[0] // heads, keys, widths[2] // heads)


def multi_head_attention(call: Call) -> float:
    """Of com.microsoft: query (batch, length, width), or all of it as (batch, length, heads, 3, size)."""
    query, key, past = call.given(0), call.optional(1), call.optional(6)
    before = past.shape[2] if past is not None else 0
    if key is None:
        size, length = query.shape[-1], query.shape[1]
        return _softmax_of_scores(query.elements // 3, size, length + before, size)
    heads = call.attribute("num_heads", 1)
    size, value_size = query.shape[-1] // heads, call.elements // (query.shape[0] * query.shape[1] * heads)
    # (batch, length, width), (batch, heads, length, size), or with the value (batch, length, heads, 2, size).
    keys = key.shape[2 if len(key.shape) == 4 else 1]
    return _softmax_of_scores(query.elements, size, keys + before, value_size)


def grouped_attention(call: Call) -> float:
    """Of com.microsoft: over the cache as long as it is after this call."""
    cache = call.output(1)
    size = cache.shape[-1]
    total = call.optional(6)
    keys = int(total.data) if total is not None and total.data is not None else cache.shape[2]
    return _softmax_of_scores(call.elements, size, keys, size)
