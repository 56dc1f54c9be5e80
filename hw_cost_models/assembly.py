"""Assembly: whole networks put together from parts that were exported once.

The exporter takes seconds for a network of a few layers. Where many networks differ only in which part stands
at which place, one export of the frame, with marks around the places, and one of each part are enough: any
combination is then a matter of renaming nodes. The result runs the same operators as an export of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hw_cost_models.errors import HardwareCostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, MutableSequence

    import onnx

_DOMAIN = "dnas"
_MARK = "Mark"


class Marked(nn.Module):
    """A place in a frame: `stand_in` runs there while the frame is exported, and is cut out afterwards."""

    def __init__(self, place: str, stand_in: nn.Module) -> None:
        super().__init__()
        self.place = place
        self.stand_in = stand_in

    def forward(self, *inputs: Tensor) -> Tensor:
        marked = (_mark(x, f"{self.place}<{i}") for i, x in enumerate(inputs))
        return _mark(self.stand_in(*marked), f"{self.place}>")


def _mark(x: Tensor, name: str) -> Tensor:
    marked: Tensor = torch.onnx.ops.symbolic(
        f"{_DOMAIN}::{_MARK}", (x,), {"name": name}, dtype=x.dtype, shape=x.shape, version=1
    )
    return marked


def assemble(frame: onnx.ModelProto, parts: Mapping[str, onnx.ModelProto]) -> onnx.ModelProto:
    """The frame with `parts[place]` at every marked place; inputs are matched in order.

    What a part takes and gives beside what the place has, such as the state of a sequence, becomes an input
    `place<0`, `place<1`, … or an output `place>0`, … of the whole. Weights are copied, so that places that
    hold the same part do not share them. Raises HardwareCostError when a place has no part.
    """
    import onnx

    whole = onnx.ModelProto()
    whole.CopyFrom(frame)
    graph = whole.graph
    alias = _aliases(graph)
    nodes: list[onnx.NodeProto] = []
    for node in frame.graph.node:
        name = _mark_name(node)
        if name is None:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            _rename(copied, alias)
            nodes.append(copied)
        elif name.endswith(">"):
            place = name[:-1]
            if place not in parts:
                raise HardwareCostError(f"no part was given for the place {place!r}")
            fed = [alias[value] for value in _inputs_of(frame.graph, place)]
            nodes.extend(_spliced(graph, parts[place].graph, place, fed, node.output[0]))
    _keep_needed(graph, nodes)
    graph.ClearField("value_info")
    del whole.opset_import[:]
    whole.opset_import.extend(o for o in frame.opset_import if o.domain != _DOMAIN)
    return whole


def _mark_name(node: onnx.NodeProto) -> str | None:
    if node.domain != _DOMAIN or node.op_type != _MARK:
        return None
    return str(next(a.s.decode() for a in node.attribute if a.name == "name"))


def _aliases(graph: onnx.GraphProto) -> dict[str, str]:
    """What each value of the frame is called when the marks on inputs are taken out."""
    alias = _Names()
    for node in graph.node:
        name = _mark_name(node)
        if name is not None and not name.endswith(">"):
            alias[node.output[0]] = alias[node.input[0]]
    return alias


class _Names(dict[str, str]):
    """A value without another name keeps its own."""

    def __missing__(self, value: str) -> str:
        return value


def _inputs_of(graph: onnx.GraphProto, place: str) -> list[str]:
    """The marked inputs of a place, in the order of its arguments."""
    found = {
        int(name.rsplit("<", 1)[1]): node.output[0]
        for node in graph.node
        if (name := _mark_name(node)) is not None and name.rsplit("<", 1)[0] == place and "<" in name
    }
    return [found[i] for i in sorted(found)]


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    node.input[:] = [names[value] for value in node.input]
    node.output[:] = [names[value] for value in node.output]
    for attribute in node.attribute:
        for value in (*attribute.g.input, *attribute.g.output, *attribute.g.initializer):
            value.name = names[value.name]
        for inner in attribute.g.node:
            _rename(inner, names)


def _spliced(
    graph: onnx.GraphProto, part: onnx.GraphProto, place: str, fed: list[str], result: str
) -> Iterator[onnx.NodeProto]:
    """The part's nodes under names of their own; its weights join the graph."""
    import onnx

    names = _Names()
    for value in _values(part):
        names[value] = f"{place}/{value}" if value else ""
    names.update(zip((value.name for value in part.input), fed, strict=False))
    names[part.output[0].name] = result
    _hoist(part.input[len(fed) :], graph.input, f"{place}<", names)
    _hoist(part.output[1:], graph.output, f"{place}>", names)
    for initializer in part.initializer:
        weight = graph.initializer.add()
        weight.CopyFrom(initializer)
        weight.name = names[initializer.name]
    for node in part.node:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        copied.name = f"{place}/{node.name}"
        _rename(copied, names)
        yield copied


def _hoist(
    extra: Iterable[onnx.ValueInfoProto],
    whole: MutableSequence[onnx.ValueInfoProto],
    prefix: str,
    names: dict[str, str],
) -> None:
    """Inputs or outputs that only the part has become the whole's."""
    for number, value in enumerate(extra):
        names[value.name] = f"{prefix}{number}"
        hoisted = type(value)()
        hoisted.CopyFrom(value)
        hoisted.name = names[value.name]
        whole.append(hoisted)


def _values(graph: onnx.GraphProto) -> Iterator[str]:
    """Every value's name, those inside branches and loop bodies included."""
    yield from (value.name for value in (*graph.input, *graph.initializer, *graph.output))
    for node in graph.node:
        yield from (*node.input, *node.output)
        for attribute in node.attribute:
            yield from _values(attribute.g)


def _keep_needed(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Leaves what the outputs depend on: the stand-ins and their weights go."""
    needed = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if any(value in needed for value in node.output):
            needed.update(value for value in node.input)
            needed.update(value for a in node.attribute for value in _values(a.g))
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    weights = [w for w in graph.initializer if w.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(weights)
