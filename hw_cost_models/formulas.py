"""Operations and bytes of each operator, by shape.

A multiply-add is two operations, an elementwise function one per element, whatever its name. Matrix products
and convolutions count as in `torch.utils.flop_counter` (biases are not counted); that counter is silent about
everything else. Here an operator that nobody has thought about is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hw_cost_models.errors import UnknownOperatorError

if TYPE_CHECKING:
    from hw_cost_models.graph import Kind, Unknown

aten = torch.ops.aten


@dataclass(frozen=True)
class Call:
    """One call of an operator: what went in and what came out."""

    operator: torch._ops.OpOverload
    arguments: tuple[Any, ...]
    inputs: tuple[Tensor, ...]
    """Every tensor among the arguments, those inside lists too."""
    outputs: tuple[Tensor, ...]

    @property
    def elements(self) -> int:
        """Of the first output."""
        return self.outputs[0].numel() if self.outputs else 0


Count = Callable[[Call], float]


@dataclass(frozen=True)
class Formula:
    """What an operator is, and how many operations a call of it takes."""

    kind: Kind
    flops: Count


def price(call: Call, unknown: Unknown) -> tuple[Kind, float, bool]:
    """The kind of the operator, the operations of the call, and whether a formula is known.

    Raises UnknownOperatorError when none is, unless unknown ones are to be skipped.
    """
    formula = _formula(call)
    if formula is not None:
        return formula.kind, formula.flops(call), True
    if unknown == "skip":
        return "movement" if call.operator.is_view else "other", 0.0, False
    raise UnknownOperatorError(
        f"no formula for the operator {call.operator}: add one line to hw_cost_models/formulas.py, "
        'or trace with unknown="skip" and see the coverage'
    )


def _formula(call: Call) -> Formula | None:
    formula = _FORMULAS.get(call.operator.overloadpacket)
    if formula is None and torch.Tag.pointwise in call.operator.tags:
        return Formula("elementwise", _per_element(1))
    if formula is None and torch.Tag.reduction in call.operator.tags:
        return Formula("reduction", _per_input_element(1))
    return formula


def arithmetic(call: Call) -> torch.dtype:
    """The type the call calculates in: of its first tensor that is no mask."""
    types = [tensor.dtype for tensor in (*call.inputs, *call.outputs)]
    return next((dtype for dtype in types if dtype != torch.bool), torch.bool)


def reads(call: Call) -> list[tuple[Tensor, int]]:
    """Each input once, with the bytes read of it; of a table from which rows are picked, only those rows."""
    inputs = list({id(tensor): tensor for tensor in call.inputs}.values())
    if call.operator.overloadpacket in _PICKS_ROWS:
        table, *rest = inputs
        picked = min(size(table), sum(map(size, call.outputs)))
        return [(table, picked), *((tensor, size(tensor)) for tensor in rest)]
    return [(tensor, size(tensor)) for tensor in inputs]


def bytes_written(call: Call) -> int:
    """Each output once."""
    if call.operator.overloadpacket in _ALLOCATES_ONLY:
        return 0
    return sum(map(size, call.outputs))


def size(tensor: Tensor) -> int:
    """Bytes of the tensor's elements."""
    return tensor.numel() * tensor.element_size()


def _product(left: int) -> Count:
    """A matrix product whose left factor is that argument; the sum is over its last dimension."""
    return lambda call: 2 * call.elements * int(call.arguments[left].shape[-1])


def _convolution(call: Call) -> float:
    """Every weight is used once at every position: of the input when transposed, else of the output."""
    x, weight, *_, transposed, _, _ = call.arguments
    grid: Tensor = x if transposed else call.outputs[0]
    return 2 * (grid.numel() // grid.shape[1]) * int(weight.numel())


def _attention(call: Call) -> float:
    """Both matrix products and the softmax between them, in full: masks save no work on most runtimes."""
    query, key, value = call.inputs[:3]
    scores = query.numel() // query.shape[-1] * key.shape[-2]
    return scores * (2 * query.shape[-1] + _SOFTMAX + 2 * value.shape[-1])


_SOFTMAX = 5
"""Maximum, difference, exponential, sum, quotient."""
_NORM = 8
"""Mean; difference, square and sum; difference and product; scale and shift."""


def _per_element(count: float) -> Count:
    return lambda call: count * call.elements


def _per_input_element(count: float) -> Count:
    return lambda call: count * call.inputs[0].numel()


def _sort(call: Call) -> float:
    """Comparisons of a merge sort along the sorted dimension, the last unless said."""
    dimension = next((a for a in call.arguments[1:] if type(a) is int), -1)
    length = call.inputs[0].shape[dimension] if call.inputs[0].dim() else 1
    return call.inputs[0].numel() * max(1.0, math.log2(max(length, 1)))


def _topk(call: Call) -> float:
    """Comparisons of a heap of k."""
    return call.inputs[0].numel() * max(1.0, math.log2(max(call.arguments[1], 1)))


def _pool(call: Call) -> float:
    return call.elements * float(math.prod(call.arguments[1]))


def _added_rows(call: Call) -> float:
    """One addition for each element of the source, the last tensor."""
    return call.inputs[-1].numel()


_PICKS_ROWS = {aten.embedding, aten.gather, aten.index, aten.index_select}

_ALLOCATES_ONLY = {aten.empty, aten.empty_like, aten.new_empty}

_WRITES_ROWS = {
    aten.index_copy,
    aten.index_put,
    aten.index_put_,
    aten.masked_scatter,
    aten.scatter,
    aten.scatter_,
    aten.select_scatter,
    aten.slice_scatter,
}

_FILLS = {
    aten.arange,
    aten.eye,
    aten.fill,
    aten.fill_,
    aten.full,
    aten.full_like,
    aten.new_full,
    aten.new_ones,
    aten.new_zeros,
    aten.ones,
    aten.ones_like,
    aten.scalar_tensor,
    aten.tril_indices,
    aten.triu_indices,
    aten.zero_,
    aten.zeros,
    aten.zeros_like,
}

_COPIES = {
    aten._to_copy,
    aten.cat,
    aten.clone,
    aten.constant_pad_nd,
    aten.copy,
    aten.copy_,
    aten.flip,
    aten.lift_fresh_copy,
    aten.masked_select,
    aten.nonzero,
    aten.reflection_pad1d,
    aten.reflection_pad2d,
    aten.repeat,
    aten.replication_pad1d,
    aten.replication_pad2d,
    aten.roll,
    aten.stack,
    aten.tril,
    aten.triu,
    aten.upsample_nearest2d,
}


def _same(kind: Kind, flops: Count, *operators: Any) -> dict[Any, Formula]:
    return dict.fromkeys(operators, Formula(kind, flops))


_NOTHING = _per_element(0)
_ONE = _per_element(1)

_FORMULAS: dict[Any, Formula] = {
    **_same("movement", _NOTHING, *_PICKS_ROWS, *_ALLOCATES_ONLY, *_WRITES_ROWS, *_FILLS, *_COPIES),
    **_same("movement", _added_rows, aten.scatter_add, aten.scatter_add_, aten.scatter_reduce),
    **_same("movement", _added_rows, aten.index_add, aten.index_add_),
    **_same("matmul", _product(0), aten.mm, aten.bmm, aten.dot, aten.mv),
    **_same("matmul", _product(1), aten.addmm, aten.baddbmm),
    **_same("convolution", _convolution, aten.convolution),
    **_same("attention", _attention, aten._scaled_dot_product_flash_attention_for_cpu),
    **_same("normalisation", _per_element(_SOFTMAX), aten._softmax, aten._safe_softmax, aten._log_softmax),
    **_same("normalisation", _per_element(_NORM), aten.native_layer_norm, aten.native_group_norm),
    # Square, sum, two products.
    **_same("normalisation", _per_element(4), aten._fused_rms_norm),
    # In evaluation: one product, one sum.
    **_same(
        "normalisation",
        _per_element(2),
        aten.native_batch_norm,
        aten._native_batch_norm_legit_no_training,
    ),
    **_same("elementwise", _ONE, aten.hardswish, aten.floor_divide),
    **_same("scan", _ONE, aten.cumsum, aten.cumprod),
    **_same("reduction", _topk, aten.topk),
    **_same("reduction", _sort, aten.sort, aten.argsort),
    **_same("reduction", _per_input_element(1), aten.bincount, aten._adaptive_avg_pool2d),
    **_same("reduction", _pool, aten.max_pool2d_with_indices, aten.avg_pool2d),
}
