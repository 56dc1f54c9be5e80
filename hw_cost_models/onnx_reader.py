"""Nodes of an ONNX file become operators of a graph, with the lives of their tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx

from hw_cost_models import onnx_control, onnx_routing
from hw_cost_models.errors import DamagedFileError
from hw_cost_models.graph import Operator, Storage, add_operator, arithmetic_type, finish
from hw_cost_models.onnx_counts import Call
from hw_cost_models.onnx_file import understood
from hw_cost_models.onnx_formulas import PICKS_ROWS, SHAPES_ONLY, VIEWS, price, runs_on_integers
from hw_cost_models.onnx_quantised import Quantised, quantised
from hw_cost_models.onnx_shapes import RANDOM, ShapeInference, full_name
from hw_cost_models.onnx_values import Memory, Value

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from hw_cost_models.graph import Unknown
    from hw_cost_models.onnx_file import Body, File, Node

_NEVER_FOLDED = {*RANDOM, "DequantizeLinear"}
"""Random numbers are new every time; small weights are not made large ahead of time."""


class Reader:
    """Puts the nodes of a body into a graph, in the order in which they are in the file."""

    def __init__(self, file: File, shapes: ShapeInference, unknown: Unknown) -> None:
        self.file = file
        self.shapes = shapes
        self.unknown: Unknown = unknown
        self.graph = nx.DiGraph()
        self.memories: list[Memory] = []
        self.weights: dict[Hashable, int] = {}
        """Bytes of the constants that operators read, by origin."""

    @property
    def step(self) -> int:
        """The number of the next operator."""
        return int(self.graph.number_of_nodes())

    def inner(self) -> Reader:
        """A reader for a body, with a graph of its own and the same weights."""
        reader = Reader(self.file, self.shapes, self.unknown)
        reader.weights = self.weights
        return reader

    def new_memory(self, size: int, born: int) -> Memory:
        memory = Memory(size, born, born)
        self.memories.append(memory)
        return memory

    def look_up(self, values: Mapping[str, Value], name: str) -> Value:
        """Raises DamagedFileError for a name that nothing makes."""
        if name not in values:
            raise DamagedFileError(
                f"{self.file.path}: nothing makes the value {name!r} that it uses: export the file again"
            )
        return values[name]

    def walk(self, body: Body, outside: Mapping[str, Value]) -> dict[str, Value]:
        """Append the body's operators; all values by name, those from outside as well."""
        for name, constant in body.constants.items():
            constant.origin = (body, name)
        values = {**outside, **body.constants}
        with understood(self.file.path, "the graph"):
            plan = quantised(body)
        for node in body.nodes:
            inputs = [self.look_up(values, name) if name else None for name in node.inputs]
            with understood(self.file.path, f"{full_name(node)} {node.name!r}"):
                if node.bodies:
                    made = onnx_control.run(self, node, inputs, values)
                else:
                    made = self._run(body, plan, node, inputs)
                values.update({n: v for n, v in zip(node.outputs, made, strict=True) if v is not None})
        return values

    def place(self, operator: Operator, inputs: Iterable[Value], outputs: Iterable[Value]) -> None:
        """Append the operator, connected to the producers of its inputs."""
        step = add_operator(self.graph, operator)
        for value in inputs:
            if value.producer is not None:
                self.graph.add_edge(value.producer, step)
            if value.memory is not None:
                value.memory.dies = step
        for value in outputs:
            value.producer = step
            if value.memory is not None:
                value.memory.dies = step

    def finish(self, outputs: Iterable[Value]) -> nx.DiGraph:
        """The graph; the outputs outlive it."""
        for value in outputs:
            if value.memory is not None:
                value.memory.dies = self.step
        storages = (Storage(memory.bytes, memory.born, memory.dies) for memory in self.memories)
        return finish(self.graph, storages, sum(self.weights.values()))

    def _run(
        self, body: Body, plan: Quantised, node: Node, inputs: Sequence[Value | None]
    ) -> list[Value | None]:
        call = Call(node, list(inputs), self.shapes.outputs(node, inputs, body.declared))
        given, made = call.values
        onnx_routing.follow(node, given, made)
        dynamic = any(value.dynamic for value in given)
        constant = _is_constant(node, given, dynamic)
        view = node in plan.absorbed or _is_view(node, given, made)
        for name, value in zip((name for name in node.outputs if name), made, strict=True):
            value.dynamic, value.constant = dynamic, constant
            value.integers = _integers(plan, node, name, value, given)
            value.scales = given[1:] if node in plan.absorbed else ()
            if constant:
                value.origin = given[0].origin if view else (body, name)
            elif view and value is made[0] and (given[0].memory is not None or value.integers is not None):
                value.memory = given[0].memory
            else:
                value.memory = self.new_memory(value.held.bytes, self.step)
        operator = self._describe(
            call, free=view or constant, on_integers=node in plan.operators or runs_on_integers(node)
        )
        self.place(operator, given, made)
        return call.outputs

    def _describe(self, call: Call, free: bool, on_integers: bool) -> Operator:
        kind, flops, covered = price(self.file.path, call, "skip" if free else self.unknown)
        given, made = call.values
        reads = [] if free else _reads(call)
        weights = [(value, count) for value, count in reads if value.constant]
        self.weights.update({value.origin: value.bytes for value, _ in weights})
        return Operator(
            operator=full_name(call.node),
            kind=kind,
            shapes=[value.shape for value in made],
            dtypes=[value.held.dtype for value in made],
            input_shapes=[value.shape for value in given],
            dtype="int8" if on_integers else arithmetic_type(value.dtype for value in (*given, *made)),
            flops=0.0 if free else float(flops),
            bytes_read=sum(count for _, count in reads),
            bytes_written=0 if free else sum(value.held.bytes for value in made),
            weight_bytes=sum(count for _, count in weights),
            launches=0 if free else 1,
            free=free,
            covered=free or covered,
        )


def _integers(plan: Quantised, node: Node, name: str, value: Value, given: Sequence[Value]) -> Value | None:
    """What there is in the place of a value that is a float in the file alone."""
    if node in plan.absorbed:
        return given[0].held if node.operator != "QuantizeLinear" else None
    element = plan.integers.get(name)
    return None if element is None else Value(element, value.shape)


def _is_view(node: Node, given: Sequence[Value], made: Sequence[Value]) -> bool:
    if node.domain or not given:
        return False
    same_type = given[0].element == made[0].element
    return same_type and (node.operator in VIEWS or node.operator in ("Cast", "CastLike"))


def _is_constant(node: Node, given: Sequence[Value], dynamic: bool) -> bool:
    """Whether a runtime computes it when it loads the file."""
    if node.domain == "" and node.operator in SHAPES_ONLY:
        return not dynamic
    return node.operator not in _NEVER_FOLDED and all(value.constant for value in given)


def _reads(call: Call) -> list[tuple[Value, int]]:
    """What is in memory of each input, once, with the bytes read of it."""
    given = [part for value in call.values[0] for part in (value.held, *value.scales)]
    first, *rest = {id(value): value for value in given}.values()
    others = [(value, value.bytes) for value in rest]
    if not call.node.domain and call.node.operator in SHAPES_ONLY:
        return others
    if not call.node.domain and call.node.operator in PICKS_ROWS:
        return [(first, min(first.bytes, sum(value.held.bytes for value in call.values[1]))), *others]
    return [(first, first.bytes), *others]
