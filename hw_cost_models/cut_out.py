"""Cutting one module out of the joint graph of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def cut_out(joint: onnx.ModelProto, inputs: list[str], outputs: list[str]) -> onnx.ModelProto | None:
    """The part of the joint graph between these values.

    None when it leans on another item's input: the exporter may read a dimension that two inputs share from
    either of them. None, too, when the body of a loop takes from outside what is computed there.
    """
    from onnx.utils import Extractor

    model: onnx.ModelProto = Extractor(joint).extract_model(inputs, outputs)
    foreign = {value.name for value in joint.graph.input} - set(inputs)
    if any(name in foreign for node in model.graph.node for name in node.input):
        return None
    weights = {weight.name: weight for weight in joint.graph.initializer}
    captured = sorted(_free_names(model.graph))  # the extractor looks at no bodies
    if not weights.keys() >= set(captured):
        return None
    model.graph.initializer.extend(weights[name] for name in captured)
    return model


def _free_names(graph: onnx.GraphProto) -> set[str]:
    """Values that are used in a graph, in its bodies too, and come from outside it."""
    known = {value.name for value in (*graph.input, *graph.initializer)} | {""}
    free = set[str]()
    for node in graph.node:
        inner = set().union(*(_free_names(a.g) for a in node.attribute))
        free |= (inner | set(node.input)) - known
        known.update(node.output)
    return free | ({value.name for value in graph.output} - known)
