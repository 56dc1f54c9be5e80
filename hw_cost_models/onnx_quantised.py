"""Which operators of a file run on integers, though it says so by `QuantizeLinear` and `DequantizeLinear`.

In that notation an operator on floats stands between nodes that turn integers into floats and back. A runtime
puts the three together: the nodes around the operator never run, and the floats between them never exist. The
rules are those of ONNX Runtime (onnxruntime/core/optimizer/qdq_transformer/selectors_actions).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import TensorProto

if TYPE_CHECKING:
    from hw_cost_models.onnx_file import Body, Node

_PRODUCTS = {"ConvTranspose", "Gemm", "MatMul"}
"""Run on integers even where floats come out."""

_BETWEEN = {
    "Add",
    "ArgMax",
    "AveragePool",
    "Concat",
    "Conv",
    "Div",
    "Expand",
    "Flatten",
    "Gather",
    "GlobalAveragePool",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "Pad",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
    "Where",
}
"""Run on integers where integers come out as well."""

_ACTIVATIONS = {"Clip", "Relu"}
"""Part of the limits of the integers that come out."""


_FIRST_INPUT_ALONE = {
    "ArgMax",
    "Expand",
    "Flatten",
    "Gather",
    "Pad",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
"""The others are shapes and indices."""


@dataclass(frozen=True)
class Quantised:
    """Nodes by what becomes of them."""

    operators: frozenset[Node]
    """Run on integers."""
    absorbed: frozenset[Node]
    """Are part of those, and of products that take blocks of packed weights: they do not run."""
    integers: dict[str, int]
    """The types of the integers that there are in the place of the operators' outputs."""


def quantised(body: Body) -> Quantised:
    """By names alone: the body's shapes need not be known."""
    return _Analysis(body).result()


class _Analysis:
    def __init__(self, body: Body) -> None:
        self.body = body
        self.maker = {name: node for node in body.nodes for name in node.outputs}
        self.users: defaultdict[str, list[Node]] = defaultdict(list)
        for node in body.nodes:
            for name in {*node.inputs, *(n for inner in node.bodies.values() for n in inner.captured())}:
                self.users[name].append(node)

    def result(self) -> Quantised:
        operators: set[Node] = set()
        absorbed: set[Node] = set()
        integers: dict[str, int] = {}
        for node in self.body.nodes:
            if node.operator not in _PRODUCTS | _BETWEEN or not self._takes_integers(node):
                continue
            after = self._after(node)
            if after is not None or node.operator in _PRODUCTS:
                operators.add(node)
                absorbed.update(after or ())
                integers.update(dict.fromkeys(node.outputs, self._element(after[-1])) if after else {})
        for node in self.body.nodes:
            users = self.users[node.outputs[0]]
            inside = all(user in operators or self._unpacks(node, user) for user in users)
            if node.operator == "DequantizeLinear" and users and inside and not self._leaves(node):
                absorbed.add(node)
        return Quantised(frozenset(operators), frozenset(absorbed), integers)

    def _element(self, quantiser: Node) -> int:
        """Of the integers it makes: as the zero point is, or unsigned."""
        zero = self.body.constants.get(quantiser.inputs[2]) if len(quantiser.inputs) > 2 else None
        return int(quantiser.attribute("output_dtype", 0)) or (zero.element if zero else TensorProto.UINT8)

    def _takes_integers(self, node: Node) -> bool:
        """Whether all its inputs are made by DequantizeLinear."""
        inputs = node.inputs[1:] if node.operator == "Where" else node.inputs
        inputs = inputs[:1] if node.operator in _FIRST_INPUT_ALONE else inputs
        makers = [self.maker.get(name) for name in inputs if name]
        return bool(makers) and all(m is not None and m.operator == "DequantizeLinear" for m in makers)

    def _after(self, node: Node) -> list[Node] | None:
        """The nodes that make integers of all its outputs, with an activation before them; None without."""
        found: list[Node] = []
        for name in node.outputs:
            users = self.users[name]
            if len(users) == 1 and users[0].operator in _ACTIVATIONS and not self._leaves(node):
                found.append(users[0])
                users = self.users[users[0].outputs[0]]
            if len(users) != 1 or users[0].operator != "QuantizeLinear" or name in self.body.outputs:
                return None
            found.append(users[0])
        return found

    def _leaves(self, node: Node) -> bool:
        return any(name in self.body.outputs for name in node.outputs)

    def _unpacks(self, node: Node, user: Node) -> bool:
        """Weights in blocks with scales of their own, which a product unpacks as it goes."""
        return (
            user.operator == "MatMul"
            and bool(node.attribute("block_size", 0))
            and node.inputs[0] in self.body.constants
            and user.inputs[1] == node.outputs[0]
        )
