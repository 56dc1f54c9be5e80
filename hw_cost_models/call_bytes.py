"""The bytes that a call of an operator reads and writes, by shape.

Each input is read once and each output written once, as by a kernel whose working set fits the cache. Rows
that are picked from a table or written into one in place are counted as such, not as the whole table.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hw_cost_models.operator_call import Call, size

aten = torch.ops.aten

_PICKS_ROWS = {
    aten._embedding_bag,
    aten._embedding_bag_forward_only,
    aten._unsafe_index,
    aten.embedding,
    aten.gather,
    aten.index,
    aten.index_select,
    aten.take,
}

_ALLOCATES_ONLY = {
    aten.empty,
    aten.empty_like,
    aten.empty_permuted,
    aten.empty_strided,
    aten.new_empty,
    aten.new_empty_strided,
}

_OVERWRITES = {aten.copy_, aten.fill_, aten.normal_, aten.uniform_, aten.bernoulli_, aten.zero_}
"""In place, and the old value does not matter."""

_WRITES_ROWS = {aten._index_put_impl_, aten.index_copy_, aten.index_fill_, aten.index_put_, aten.scatter_}
"""In place, the rest of the table untouched."""

_ADDS_ROWS = {aten.index_add_, aten.index_reduce_, aten.scatter_add_, aten.scatter_reduce_}
"""In place, each row read and written."""


def reads(call: Call) -> list[tuple[Tensor, int]]:
    """Each input with the bytes read of it."""
    operator = call.operator.overloadpacket
    first, *rest = {id(tensor): tensor for tensor in call.inputs}.values() if call.inputs else (None,)
    if first is None:
        return []
    others = [(tensor, size(tensor)) for tensor in rest]
    if operator in _PICKS_ROWS:
        return [(first, min(size(first), _picked(call, first))), *others]
    if operator in _OVERWRITES or operator in _WRITES_ROWS:
        return others
    if operator in _ADDS_ROWS:
        return [(first, _rows(call)), *others]
    return [(first, size(first)), *others]


def bytes_written(call: Call) -> int:
    """Each output once."""
    operator = call.operator.overloadpacket
    if operator in _ALLOCATES_ONLY:
        return 0
    if operator in _WRITES_ROWS or operator in _ADDS_ROWS:
        return _rows(call)
    return sum(map(size, call.outputs))


def _picked(call: Call, table: Tensor) -> int:
    if call.operator.overloadpacket in (aten._embedding_bag, aten._embedding_bag_forward_only):
        return call.inputs[1].numel() * int(table.shape[-1]) * table.element_size()
    return size(call.outputs[0])


def _rows(call: Call) -> int:
    """Bytes of what goes into the table: as many elements as the largest of the other inputs has."""
    table, *others = call.inputs
    return min(size(table), max((tensor.numel() for tensor in others), default=0) * table.element_size())
