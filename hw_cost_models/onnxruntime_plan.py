"""Which buffers ONNX Runtime allocates and frees before and after each operator.

It decides so once, when it loads the file, in this order of preference for every output:

1. an output of the whole network gets a buffer of its own;
2. a view takes the buffer of its input, whatever else uses it;
3. an operator that may work in place takes the buffer of an input that nothing else will read and that is,
   for all it knows, of the same size;
4. else the buffer that became free last, of those of the same size;
5. else it allocates.

A buffer lives from its first value to the last use of its last one: between two that share it, it is not
given back. Where it knows little of shapes (free dimensions), it shares less and may take less.

ONNX Runtime, core/framework/allocation_planner.cc, ComputeSingleStreamReusePlan; what works in place was
found by running every operator alone (1.32).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from hw_cost_models.onnx_file import Body, Node

    SameSize = Callable[[str, str], bool]

VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
IN_PLACE = frozenset(
    {
        *("Cast", "Celu", "Clip", "Elu", "HardSigmoid", "LeakyRelu", "LogSoftmax", "Relu", "ScatterElements"),
        *("Selu", "Shrink", "Sigmoid", "Softmax", "Softplus", "Softsign", "Tanh", "ThresholdedRelu", "Trilu"),
    }
)
"""Of the standard's operators, those whose first output may overwrite the first input."""

_BLOCKED = "com.microsoft.nchwc"
_SUM_OF_A_CONVOLUTION = 3
"""The input of a blocked convolution that is added to the result: a residual."""


@dataclass
class Step:
    """One operator; buffers go by the names of the first values in them."""

    node: Node
    allocates: list[str] = field(default_factory=list)
    frees: list[str] = field(default_factory=list)


def plan(body: Body, same_size: SameSize) -> list[Step]:
    """The steps in order. `same_size` tells of two values whether the runtime knows that they are.

    Buffers of the network's outputs are never freed; inputs and weights have none.
    """
    planner = _Planner(body, same_size)
    steps = [planner.place(node) for node in body.nodes]
    last = {name: step for step in steps for name in step.frees}
    for step in steps:
        step.frees = [name for name in step.frees if last[name] is step]
    return steps


class _Planner:
    def __init__(self, body: Body, same_size: SameSize) -> None:
        self.outputs = frozenset(body.outputs)
        self.same_size = same_size
        self.uses = Counter(body.outputs)
        """Of each buffer: how many readings and writings are still to come."""
        for node in body.nodes:
            self.uses.update(_names(node))
        self.buffers: dict[str, str] = {}
        """The buffer that a value lies in; none of an input or a weight."""
        self.free: list[str] = []
        """The latest first."""

    def place(self, node: Node) -> Step:
        step = Step(node)
        for position, output in enumerate(node.outputs):
            if output:
                self._place_output(step, output, first=position == 0)
        for name in _names(node):
            self._use(step, name)
        return step

    def _place_output(self, step: Step, output: str, *, first: bool) -> None:
        if output in self.outputs:
            self._allocate(step, output)
        elif first and step.node.operator in VIEWS and not step.node.domain:
            source = step.node.inputs[0]
            if source in self.buffers:
                self._share(self.buffers[source], output)
        elif (buffer := self._overwritten(step.node, output) if first else None) or (
            buffer := self._reusable(output)
        ):
            self._share(buffer, output)
        else:
            self._allocate(step, output)

    def _allocate(self, step: Step, output: str) -> None:
        self.buffers[output] = output
        step.allocates.append(output)

    def _share(self, buffer: str, output: str) -> None:
        self.buffers[output] = buffer
        self.uses[buffer] += self.uses[output]

    def _overwritten(self, node: Node, output: str) -> str | None:
        """The buffer of an input that this operator may overwrite."""
        source = _may_overwrite(node)
        buffer = self.buffers.get(source or "")
        if source is None or buffer is None or self.uses[buffer] != 1:
            return None
        return buffer if self.same_size(source, output) else None

    def _reusable(self, output: str) -> str | None:
        buffer = next((name for name in self.free if self.same_size(name, output)), None)
        if buffer is not None:
            self.free.remove(buffer)
        return buffer

    def _use(self, step: Step, name: str) -> None:
        buffer = self.buffers.get(name)
        if buffer is None:
            return
        self.uses[buffer] -= 1
        if self.uses[buffer] == 0:
            self.free.insert(0, buffer)
            step.frees.append(buffer)


def _names(node: Node) -> list[str]:
    """Everything that it reads, inside as well, and everything that it writes."""
    captured = [name for body in node.bodies.values() for name in sorted(body.captured())]
    return [name for name in (*node.inputs, *captured, *node.outputs) if name]


def _may_overwrite(node: Node) -> str | None:
    if not node.domain and node.operator in IN_PLACE:
        return node.inputs[0]
    if (node.domain, node.operator) == (_BLOCKED, "Conv") and len(node.inputs) > _SUM_OF_A_CONVOLUTION:
        return node.inputs[_SUM_OF_A_CONVOLUTION]
    return None
