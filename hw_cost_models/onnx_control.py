"""Branches and loops of an ONNX file: `If`, `Loop`, `Scan`.

The branch that is taken becomes part of the graph around it. A loop is one operator: its body as often as it
runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnx import TensorProto

from hw_cost_models.errors import HardwareCostError, UnknownOperatorError
from hw_cost_models.graph import Operator, peak_bytes, repeated
from hw_cost_models.onnx_values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import networkx as nx

    from hw_cost_models.onnx_file import Body, Node
    from hw_cost_models.onnx_reader import Reader

_ENDLESS = 2**31
"""So many turns or more mean "until the condition says so"."""


def run(
    reader: Reader, node: Node, inputs: Sequence[Value | None], values: Mapping[str, Value]
) -> Sequence[Value | None]:
    """The outputs of a node that has bodies; its operators are in the reader's graph.

    Raises UnknownOperatorError for another node with bodies, HardwareCostError for a loop without an end.
    """
    if node.operator == "If":
        return _if(reader, node, inputs, values)
    if node.operator == "Loop":
        return _loop(reader, node, inputs, values)
    if node.operator == "Scan":
        return _scan(reader, node, inputs, values)
    raise UnknownOperatorError(
        f"{reader.file.path}: no formula for {node.operator} ({node.name!r}), which runs a graph inside: "
        "export the file without it"
    )


def _if(
    reader: Reader, node: Node, inputs: Sequence[Value | None], values: Mapping[str, Value]
) -> list[Value | None]:
    branches = [node.bodies["then_branch"], node.bodies["else_branch"]]
    condition = inputs[0].data if inputs[0] is not None else None
    taken = _dearer(reader, branches, values) if condition is None else branches[not condition]
    inside = reader.walk(taken, values)
    return [reader.look_up(inside, name) for name in taken.outputs]


def _dearer(reader: Reader, branches: Sequence[Body], values: Mapping[str, Value]) -> Body:
    """A branch that does not take the shapes it is given cannot be the one that runs."""
    costs, errors = dict[int, tuple[float, int]](), list[HardwareCostError]()
    for number, branch in enumerate(branches):
        try:
            graph = _turn(reader, branch, values).graph
        except UnknownOperatorError:
            raise
        except HardwareCostError as error:
            errors.append(error)
        else:
            costs[number] = (_total(graph, "flops"), _total(graph, "bytes_read"))
    if not costs:
        raise errors[0]
    return branches[max(costs, key=costs.__getitem__)]


def _loop(
    reader: Reader, node: Node, inputs: Sequence[Value | None], values: Mapping[str, Value]
) -> list[Value | None]:
    body, turns = node.bodies["body"], _turns(reader, node, inputs)
    carried = [value for value in inputs[2:] if value is not None]
    counters = [Value(TensorProto.INT64, ()), Value(TensorProto.BOOL, ())]
    total, collected = _Total(), list[Value]()
    while total.turns < turns:
        turn = _turn(reader, body, values, [*counters, *carried])
        after, collected = turn.outputs[1 : 1 + len(carried)], turn.outputs[1 + len(carried) :]
        settled = [value.shape for value in after] == [value.shape for value in carried]
        total.add(turn, turns - total.turns if settled else 1)
        carried = after
    stacked = [replace(value, shape=(turns, *value.shape)) for value in collected]
    return _place(reader, node, total, inputs, values, [*carried, *stacked])


def _turns(reader: Reader, node: Node, inputs: Sequence[Value | None]) -> int:
    most = inputs[0].data if inputs[0] is not None else None
    if most is not None and int(most) < _ENDLESS:
        return int(most)
    given = reader.shapes.dimensions.get(node.name)
    if given is not None:
        return given
    raise HardwareCostError(
        f"{reader.file.path}: how often the loop {node.name!r} runs depends on data: give it, as in "
        f'dimensions={{"{node.name}": 10}}'
    )


def _scan(
    reader: Reader, node: Node, inputs: Sequence[Value | None], values: Mapping[str, Value]
) -> list[Value | None]:
    body, given = node.bodies["body"], [value for value in inputs if value is not None]
    count = len(given) - int(node.attribute("num_scan_inputs", 1))
    states, sequences = given[:count], given[count:]
    axes = node.attribute("scan_input_axes", [0] * len(sequences))
    turns = sequences[0].shape[axes[0]]
    slices = [
        Value(value.element, _without(value.shape, axis)) for value, axis in zip(sequences, axes, strict=True)
    ]
    turn, total = _turn(reader, body, values, [*states, *slices]), _Total()
    total.add(turn, turns)
    collected = turn.outputs[count:]
    axes = node.attribute("scan_output_axes", [0] * len(collected))
    stacked = [
        replace(value, shape=_with(value.shape, axis, turns))
        for value, axis in zip(collected, axes, strict=True)
    ]
    return _place(reader, node, total, inputs, values, [*turn.outputs[:count], *stacked])


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    axis %= len(shape)
    return (*shape[:axis], *shape[axis + 1 :])


def _with(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    axis %= len(shape) + 1
    return (*shape[:axis], size, *shape[axis:])


@dataclass(frozen=True)
class _Turn:
    graph: nx.DiGraph
    outputs: list[Value]


def _turn(reader: Reader, body: Body, values: Mapping[str, Value], arguments: Sequence[Value] = ()) -> _Turn:
    """One run of a body in a graph of its own. Of its arguments, which vary, only the shapes are known."""
    inner = reader.inner()
    outside = {name: replace(value, producer=None, memory=None) for name, value in values.items()}
    for declared, value in zip(body.inputs, arguments, strict=True):
        memory = inner.new_memory(value.bytes, -1)
        outside[declared.name] = Value(value.element, value.shape, dynamic=True, memory=memory)
    inside = inner.walk(body, outside)
    outputs = [inner.look_up(inside, name) for name in body.outputs]
    return _Turn(inner.finish(outputs), outputs)


class _Total:
    """What all turns of a loop take together."""

    def __init__(self) -> None:
        self.turns = 0
        self.fields: dict[str, Any] = {}
        self.peak = 0

    def add(self, turn: _Turn, times: int) -> None:
        self.turns += times
        self.peak = max(self.peak, peak_bytes(turn.graph.graph["storages"]))
        fields = repeated(turn.graph, times)
        for name, before in self.fields.items():
            if name == "covered":
                fields[name] = before and fields[name]
            elif isinstance(before, int | float):
                fields[name] += before
        self.fields = fields


def _place(
    reader: Reader,
    node: Node,
    total: _Total,
    inputs: Sequence[Value | None],
    values: Mapping[str, Value],
    outputs: Sequence[Value],
) -> list[Value | None]:
    captured = set().union(*(body.captured() for body in node.bodies.values()))
    given = [value for value in inputs if value is not None]
    taken = [*given, *(reader.look_up(values, name) for name in sorted(captured))]
    dynamic = any(value.dynamic for value in taken)
    made = [
        Value(value.element, value.shape, dynamic=dynamic, memory=reader.new_memory(value.bytes, reader.step))
        for value in outputs
    ]
    reader.new_memory(total.peak, reader.step)
    operator = Operator(
        operator=node.operator,
        kind="scan",
        shapes=[value.shape for value in made],
        dtypes=[value.dtype for value in made],
        input_shapes=[value.shape for value in given],
        dtype=given[-1].dtype if given else "bool",
        flops=0.0,
        bytes_read=0,
        bytes_written=0,
        weight_bytes=0,
        launches=0,
        free=False,
        covered=True,
    )
    reader.place(replace(operator, **total.fields), taken, made)
    return list(made)


def _total(graph: nx.DiGraph, attribute: str) -> Any:
    return sum(value for _, value in graph.nodes.data(attribute))
