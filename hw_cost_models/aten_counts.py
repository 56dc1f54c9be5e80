"""How many operations a call of an operator takes, by shape.

A multiply-add is two operations, an elementwise function one per element, whatever its name. Matrix products
and convolutions count as in `torch.utils.flop_counter` (biases are not counted).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from hw_cost_models.operator_call import Call, Count

aten = torch.ops.aten

SOFTMAX = 5
"""Operations an element: maximum, difference, exponential, sum, quotient."""
NORM = 8
"""Operations an element: mean; difference, square and sum; difference and product; scale and shift."""
RMS_NORM = 4
"""Operations an element: square, sum, two products."""
BATCH_NORM = 2
"""Operations an element, in evaluation: one product, one sum."""
VARIANCE = 4
"""Operations an element: mean; difference, square and sum."""
QUANTISE = 4
"""Operations an element: product with the inverse scale, zero point, rounding, limits."""
DEQUANTISE = 2
"""Operations an element: zero point, scale."""


def per_element(count: float) -> Count:
    return lambda call: count * call.elements


def per_input_element(count: float) -> Count:
    return lambda call: count * call.inputs[0].numel()


def product(left: int) -> Count:
    """A matrix product whose left factor is that argument; the sum is over its last dimension."""
    return lambda call: 2 * call.elements * int(call.arguments[left].shape[-1])


def summed_product(call: Call) -> float:
    """A batch of products, added up."""
    _, left, right = call.inputs
    return 2 * left.numel() * int(right.shape[-1])


def grouped_product(call: Call) -> float:
    """Rows in groups, a matrix for each; with two matrices as factors, it is the sum that is in groups."""
    left, right = call.inputs[:2]
    groups = call.outputs[0].shape[0] if left.dim() == right.dim() == 2 else 1
    return 2 * call.elements / groups * int(left.shape[-1])


def bilinear(call: Call) -> float:
    """Two products and a sum for every pair of inputs of every output."""
    factors = [call.argument(name) for name in ("i1", "i2", "i3")]
    for factor, name in enumerate(("expand1", "expand2", "expand3")):
        for dimension in sorted(call.argument(name)):
            factors[factor] = factors[factor].unsqueeze(dimension)
    return 3 * math.prod(int(max(sizes)) for sizes in zip(*(factor.shape for factor in factors), strict=True))


def convolution(call: Call) -> float:
    """Every weight is used once at every position: of the input when transposed, else of the output."""
    x, weight, *_, transposed, _, _ = call.arguments
    grid: Tensor = x if transposed else call.outputs[0]
    return 2 * (grid.numel() // grid.shape[1]) * int(weight.numel())


def attention(call: Call) -> float:
    return attention_of(*call.inputs[:3])


def attention_of(query: Tensor, key: Tensor, value: Tensor) -> float:
    """Both matrix products and the softmax between them, in full: masks save no work on most runtimes."""
    scores = query.numel() // query.shape[-1] * key.shape[-2]
    return scores * (2 * query.shape[-1] + SOFTMAX + 2 * value.shape[-1])


def recurrent_layer(call: Call) -> float:
    """Every weight once a step, then for each unit the sums of both products, activations and the state.

    A long short-term memory has four gates and five more operations (two products, a sum, a tangent, a
    product); only it takes this operator, other recurrent layers are traced step by step.
    """
    x, of_input, of_state = call.inputs[:3]
    steps = x.shape[0] * x.shape[1]
    hidden = of_state.shape[-1]
    return steps * (2.0 * (of_input.numel() + of_state.numel()) + (2 * 4 + 5) * hidden)


def batch_norm(call: Call) -> float:
    """With its own statistics, as instance normalisation takes them even in evaluation, or stored ones."""
    return call.elements * (NORM if call.argument("training") else BATCH_NORM)


def sort(call: Call) -> float:
    """Comparisons of a merge sort along the sorted dimension."""
    x = call.inputs[0]
    length = x.shape[call.argument("dim")] if x.dim() else 1
    return x.numel() * max(1.0, math.log2(max(length, 1)))


def sort_all(call: Call) -> float:
    return sort_of(call.inputs[0].numel())


def sort_of(count: int) -> float:
    return count * max(1.0, math.log2(max(count, 1)))


def topk(call: Call) -> float:
    """Comparisons of a heap of k."""
    return call.inputs[0].numel() * max(1.0, math.log2(max(call.argument("k"), 1)))


def search(call: Call) -> float:
    """Comparisons of a binary search for each element."""
    edges = call.argument(
        "boundaries" if call.operator.overloadpacket is aten.bucketize else "sorted_sequence"
    )
    return call.elements * max(1.0, math.log2(max(edges.shape[-1], 1)))


def pool(call: Call) -> float:
    """One operation for each element of each window; a kernel size given once is for every dimension."""
    kernel, dimensions = call.argument("kernel_size"), call.inputs[0].dim() - 2
    return call.elements * float(math.prod(kernel if len(kernel) > 1 else kernel * dimensions))


def interpolation(taps: int) -> Count:
    """A weighted sum of that many neighbours for each element."""
    return per_element(2 * taps - 1)


def fourier(per_element: float) -> Count:
    """N log2 N times that many operations, as the benchmarks of FFTW count.

    Frigo, Johnson: The Design and Implementation of FFTW3, Proc. IEEE 93(2), 2005.
    """

    def count(call: Call) -> float:
        whole = max((*call.inputs, *call.outputs), key=lambda tensor: tensor.numel())
        length = math.prod(whole.shape[dimension] for dimension in call.argument("dim"))
        return per_element * whole.numel() * math.log2(max(length, 2))

    return count


def distance(call: Call) -> float:
    """Difference, power and sum in each dimension of the points."""
    return 3 * call.elements * int(call.inputs[0].shape[-1])


def bag(call: Call) -> float:
    """One addition for each element of each row that is picked."""
    return call.inputs[1].numel() * int(call.inputs[0].shape[-1])


def added_rows(call: Call) -> float:
    """One addition for each element of the source, the last tensor."""
    return call.inputs[-1].numel()
