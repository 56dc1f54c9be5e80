"""A small network that is put together operator by operator, and becomes an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

    from hw_cost_models.runtimes.runtime import Feed

Array = np.ndarray[Any, np.dtype[Any]]

MOST_FLOPS = 1.2e8
"""Of one operator: a few milliseconds on one slow core."""
MOST_ELEMENTS = 2**20
"""Of one tensor."""


@dataclass(frozen=True)
class Microbenchmark:
    """A small network with random weights, and random inputs."""

    model: onnx.ModelProto
    inputs: Feed
    dimensions: dict[str, int]
    """Of the free dimensions, where it has some."""


@dataclass
class Network:
    """A graph that is being put together, from an input to the last value made."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, Array] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)
    """First dimensions that the file does not fix, by input."""
    last: str = ""

    def input(self, *shape: int, dtype: type = np.float32, high: int = 2, free: bool = False) -> str:
        """A new input of random numbers; integers are below `high`. The first dimension may be left free."""
        self.last = f"input{len(self.inputs)}"
        if free:
            self.free[self.last] = shape[0]
        drawn = self.rng.standard_normal(shape) if dtype is np.float32 else self.rng.integers(0, high, shape)
        self.inputs[self.last] = drawn.astype(dtype)
        return self.last

    def weight(self, *shape: int) -> str:
        """A new weight, small enough for results not to grow from layer to layer."""
        size = float(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        return self.constant((self.rng.standard_normal(shape) / np.sqrt(size)).astype(np.float32))

    def constant(self, array: Array) -> str:
        name = f"weight{len(self.weights)}"
        self.weights[name] = array
        return name

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Append an operator on these values, by default on what was made last; the name of what it makes."""
        from onnx import helper

        names = [f"value{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs or [self.last]), names, **attributes))
        self.last = names[0]
        return self.last

    def finished(self) -> Microbenchmark:
        from onnx import TensorProto, helper, numpy_helper

        ends = [self.constant(np.array(value)) for value in ([0], [1], [-1])]
        self.add("Flatten", axis=0)
        self.add("Slice", self.last, ends[0], ends[1], ends[2])
        graph = helper.make_graph(
            self.nodes,
            "microbenchmark",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(x.dtype), self._declared(name)
                )
                for name, x in self.inputs.items()
            ],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, [1, 1])],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        # A version of the format, and of the operators, that every runtime of the last years reads.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return Microbenchmark(
            model, self.inputs, {f"rows of {name}": size for name, size in self.free.items()}
        )

    def _declared(self, name: str) -> list[int | str]:
        first, *rest = self.inputs[name].shape
        return [f"rows of {name}" if name in self.free else first, *rest]


def between(rng: np.random.Generator, low: float, high: float, step: int = 1) -> int:
    """A multiple of `step`, as likely to be near one end as near the other on a logarithmic scale."""
    return max(step, round(float(np.exp(rng.uniform(np.log(low), np.log(high)))) / step) * step)


def images(rng: np.random.Generator) -> tuple[int, int, int]:
    """Channels, height and width of feature maps: fewer channels where they are large; most are square."""
    height = between(rng, 3, 120)
    width = height if rng.random() < 0.6 else between(rng, max(3, height / 3), height * 4)
    longer = max(height, width)
    return between(rng, 8, max(16, min(768, 8000 / longer)), 8), height, width
