"""What a call of a PyTorch operator is and how many operations it takes.

The formulas are those of `aten_formulas` and `quantised_formulas`; then what PyTorch itself says of the
operator: pointwise, reduction, or registered with `torch.utils.flop_counter.register_flop_formula`. An
operator that nobody has thought about is an error.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import flop_registry

from hw_cost_models import aten_formulas, quantised_formulas
from hw_cost_models.aten_counts import per_element, per_input_element
from hw_cost_models.errors import UnknownOperatorError
from hw_cost_models.graph import Formula

if TYPE_CHECKING:
    from hw_cost_models.graph import Kind, Unknown
    from hw_cost_models.operator_call import Call


def price(call: Call, unknown: Unknown) -> tuple[Kind, float, bool]:
    """The kind of the operator, the operations of the call, and whether a formula is known.

    Raises UnknownOperatorError when none is, unless unknown ones are to be skipped.
    """
    formula = _formula(call.operator)
    if formula is not None:
        return formula.kind, formula.flops(call), True
    if unknown == "skip":
        return "movement" if call.operator.is_view else "other", 0.0, False
    raise UnknownOperatorError(
        f"no formula for the operator {call.operator}: give one by "
        'torch.utils.flop_counter.register_flop_formula, or trace with unknown="skip" and see the coverage'
    )


def is_composite(operator: torch._ops.OpOverload) -> bool:
    """Whether it is to be taken apart: it has no formula of its own, and is made of others."""
    if operator.namespace == "prim" or operator.is_view or _formula(operator) is not None:
        return False
    return bool(operator._can_decompose())


def _formula(operator: torch._ops.OpOverload) -> Formula[Call] | None:
    if operator.overloadpacket in flop_registry:
        return _lasting(operator) or Formula("other", _registered)
    return _lasting(operator)


@functools.cache
def _lasting(operator: torch._ops.OpOverload) -> Formula[Call] | None:
    packet, tags = operator.overloadpacket, set(operator.tags)
    known = _ours(packet)
    twin = _out_of_place(operator)
    if known is None and twin is not None:
        known, tags = _ours(twin.overloadpacket), tags | set(twin.tags)
    if known is not None:
        return known
    if torch.Tag.pointwise in tags:
        return Formula("elementwise", per_element(1))
    if torch.Tag.reduction in tags:
        return Formula("reduction", per_input_element(1))
    if torch.Tag.view_copy in tags:
        return Formula("movement", per_element(0))
    return None


def _ours(packet: Any) -> Formula[Call] | None:
    return aten_formulas.FORMULAS.get(packet) or quantised_formulas.FORMULAS.get(str(packet))


def _out_of_place(operator: torch._ops.OpOverload) -> torch._ops.OpOverload | None:
    """Of an operator that works in place, the one that does the same into a new tensor."""
    packet = operator.overloadpacket
    if not packet.__name__.endswith("_"):
        return None
    library = getattr(torch.ops, operator.namespace)
    twin = getattr(library, packet.__name__.removesuffix("_"), None)
    return getattr(twin, operator._overloadname, None)


def _registered(call: Call) -> float:
    formula = flop_registry[call.operator.overloadpacket]
    result = call.outputs[0] if len(call.outputs) == 1 else call.outputs
    return float(formula(*call.arguments, **call.keywords, out_val=result))
