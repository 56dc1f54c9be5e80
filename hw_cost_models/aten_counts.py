"""How many operations a call of an operator of PyTorch takes, by shape.

Matrix products and convolutions count as in `torch.utils.flop_counter`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from hw_cost_models import operations

if TYPE_CHECKING:
    from torch import Tensor

    from hw_cost_models.operator_call import Call, Count

aten = torch.ops.aten


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
    """Of heads (…, length, size)."""
    scores = query.numel() // query.shape[-1] * key.shape[-2]
    return operations.attention(scores, query.shape[-1], value.shape[-1])


def recurrent_layer(call: Call) -> float:
    """Every weight once a step. Only a long short-term memory takes this operator."""
    x, of_input, of_state = call.inputs[:3]
    steps = x.shape[0] * x.shape[1]
    hidden = of_state.shape[-1]
    return steps * (2.0 * (of_input.numel() + of_state.numel()) + operations.UNITS["LSTM"] * hidden)


def batch_norm(call: Call) -> float:
    """With its own statistics, as instance normalisation takes them even in evaluation, or stored ones."""
    return call.elements * (operations.NORM if call.argument("training") else operations.BATCH_NORM)


def sort(call: Call) -> float:
    """Along one dimension."""
    x = call.inputs[0]
    return operations.sorting(x.numel(), x.shape[call.argument("dim")] if x.dim() else 1)


def sort_all(call: Call) -> float:
    return operations.sorting(call.inputs[0].numel(), call.inputs[0].numel())


def topk(call: Call) -> float:
    """In a heap of k."""
    return operations.sorting(call.inputs[0].numel(), call.argument("k"))


def search(call: Call) -> float:
    """In a sorted row."""
    row = "boundaries" if call.operator.overloadpacket is aten.bucketize else "sorted_sequence"
    return operations.sorting(call.elements, call.argument(row).shape[-1])


def pool(call: Call) -> float:
    """One operation for each element of each window; a kernel size given once is for every dimension."""
    kernel, dimensions = call.argument("kernel_size"), call.inputs[0].dim() - 2
    return call.elements * float(math.prod(kernel if len(kernel) > 1 else kernel * dimensions))


def interpolation(taps: int) -> Count:
    return per_element(operations.interpolation(taps))


def fourier(real: bool) -> Count:
    def count(call: Call) -> float:
        whole = max((*call.inputs, *call.outputs), key=lambda tensor: tensor.numel())
        length = math.prod(whole.shape[dimension] for dimension in call.argument("dim"))
        return operations.fourier(whole.numel(), length, real)

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
