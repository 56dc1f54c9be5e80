"""Operators that take functions: scans, loops, branches.

A scan is its body times its steps. Of a branch the dearer side is taken. A loop that ends when the data says
so has no length before it runs: it is run on the real inputs, and every turn of it is counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch._higher_order_ops.associative_scan import associative_scan_op
from torch._higher_order_ops.cond import cond_op
from torch._higher_order_ops.flex_attention import flex_attention
from torch._higher_order_ops.map import map_impl
from torch._higher_order_ops.scan import scan_op
from torch._higher_order_ops.while_loop import while_loop_op

from hw_cost_models.aten_counts import attention_of
from hw_cost_models.errors import UnknownOperatorError
from hw_cost_models.graph import Operator, arithmetic_type, peak_bytes, repeated
from hw_cost_models.operator_call import size, tensors, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import networkx as nx
    from torch import Tensor
    from torch._ops import HigherOrderOperator

    from hw_cost_models.recorder import Recorder


def run(
    recorder: Recorder,
    operator: HigherOrderOperator,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
) -> Any:
    """What the operator returns; what it does is in the recorder's graph.

    Raises UnknownOperatorError for an operator that is none of these, unless unknown ones are to be skipped.
    """
    if operator in _HANDLERS:
        return _HANDLERS[operator](recorder, *arguments, **keywords)
    if recorder.unknown == "error":
        raise UnknownOperatorError(
            f"no formula for the higher-order operator {operator}: write the module without it, "
            'or trace with unknown="skip" and see the coverage'
        )
    result = operator(*arguments, **keywords)
    inputs, outputs = tensors((arguments, keywords)), tensors(result)
    recorder.place(replace(_once(operator, inputs, outputs), covered=False), inputs, outputs)
    return result


def _scan(recorder: Recorder, combine: Any, init: Any, xs: Any, additional: Any) -> Any:
    """`combine(*carry, *slices, *additional)` for every slice along the first dimension."""
    body = recorder.body(combine, (*init, *(x[0] for x in xs)), additional)
    result = scan_op(combine, init, xs, additional)
    _place_loop(recorder, scan_op, body, len(xs[0]), tensors((init, xs, additional)), tensors(result))
    return result


def _associative_scan(recorder: Recorder, combine: Any, xs: Any, additional: Any) -> Any:
    """One combination less than slices, which is the least; a parallel scan takes up to twice as many.

    Blelloch: Prefix sums and their applications, CMU-CS-90-190, 1990.
    """
    slices = [x[0] for x in xs]
    body = recorder.body(combine, (*slices, *slices), additional)
    result = associative_scan_op(combine, xs, additional)
    steps = len(xs[0]) - 1
    _place_loop(recorder, associative_scan_op, body, steps, tensors((xs, additional)), tensors(result))
    return result


def _map(recorder: Recorder, function: Any, xs: Any, additional: Any) -> Any:
    body = recorder.body(function, [x[0] for x in xs], additional)
    result = map_impl(function, xs, additional)
    _place_loop(recorder, map_impl, body, len(xs[0]), tensors((xs, additional)), tensors(result))
    return result


def _cond(recorder: Recorder, predicate: Any, yes: Any, no: Any, operands: Any) -> Any:
    dearer = max((yes, no), key=lambda branch: _total(recorder.body(branch, (), operands), "flops"))
    with recorder:
        return dearer(*operands)


def _while_loop(recorder: Recorder, condition: Any, body: Any, carried: Any, additional: Any) -> Any:
    if recorder.fake is not None:
        raise RuntimeError("the end of a while_loop depends on data")  # sends the trace to the real inputs
    with recorder:
        while condition(*carried, *additional):
            carried = body(*carried, *additional)
    return carried


def _flex_attention(recorder: Recorder, *arguments: Any, **keywords: Any) -> Any:
    """As attention without a mask; what a function does to the scores is not counted."""
    result = flex_attention(*arguments, **keywords)
    inputs, outputs = tensors(arguments[:3]), tensors(result)
    once = _once(flex_attention, inputs, outputs)
    recorder.place(replace(once, kind="attention", flops=attention_of(*inputs)), inputs, outputs)
    return result


_HANDLERS: dict[HigherOrderOperator, Callable[..., Any]] = {
    associative_scan_op: _associative_scan,
    cond_op: _cond,
    flex_attention: _flex_attention,
    map_impl: _map,
    scan_op: _scan,
    while_loop_op: _while_loop,
}


def _once(operator: HigherOrderOperator, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Operator:
    """One call that reads its inputs and writes its outputs once."""
    return Operator(
        operator=f"higher_order.{operator}",
        kind="other",
        shapes=[tuple(tensor.shape) for tensor in outputs],
        dtypes=[type_name(tensor.dtype) for tensor in outputs],
        input_shapes=[tuple(tensor.shape) for tensor in inputs],
        dtype=arithmetic_type(type_name(tensor.dtype) for tensor in (*inputs, *outputs)),
        flops=0.0,
        bytes_read=sum(map(size, inputs)),
        bytes_written=sum(map(size, outputs)),
        weight_bytes=0,
        launches=1,
        free=False,
        covered=True,
    )


def _place_loop(
    recorder: Recorder,
    operator: HigherOrderOperator,
    body: nx.DiGraph,
    steps: int,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
) -> None:
    loop = replace(_once(operator, inputs, outputs), **repeated(body, steps))
    recorder.place(loop, inputs, outputs)
    recorder.work_in(peak_bytes(body.graph["storages"]))


def _total(graph: nx.DiGraph, attribute: str) -> Any:
    return sum(value for _, value in graph.nodes.data(attribute))
