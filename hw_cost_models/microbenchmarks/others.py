"""Everything beside products and convolutions: elementwise, normalisation, reduction, movement, tiny ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hw_cost_models.microbenchmarks.network import MOST_ELEMENTS, between, images

if TYPE_CHECKING:
    from hw_cost_models.microbenchmarks.network import Network

_FUNCTIONS = ("Sigmoid", "Tanh", "Erf", "Exp", "Softplus", "HardSwish", "Elu", "Reciprocal")
_CHEAP = (("Relu", "Neg"), ("Abs", "Neg"), ("LeakyRelu", "Neg"), ("HardSigmoid", "Neg"))
"""Pairs, because two in a row would be one."""


def _tensor(rng: np.random.Generator) -> tuple[int, int]:
    """Rows and columns of anything from a few numbers to the largest tensor."""
    elements, columns = between(rng, 4, MOST_ELEMENTS), between(rng, 4, 1024)
    return max(1, elements // columns), columns


def function(network: Network, rng: np.random.Generator) -> None:
    """One that is computed by a series."""
    network.input(*_tensor(rng))
    operator = str(rng.choice(_FUNCTIONS))
    for _ in range(3):
        network.add(operator)


def cheap(network: Network, rng: np.random.Generator) -> None:
    """What one instruction does."""
    network.input(*_tensor(rng))
    for operator in _CHEAP[int(rng.integers(len(_CHEAP)))] * 2:
        network.add(operator)


def roots(network: Network, rng: np.random.Generator) -> None:
    network.input(*_tensor(rng))
    two = network.constant(np.array(rng.choice([2.0, 0.5, 1.5]), np.float32))
    for _ in range(2):
        network.add("Sqrt", network.add("Abs"))
        network.add("Pow", network.last, two)


def limits(network: Network, rng: np.random.Generator) -> None:
    """A hard swish as frameworks write it: sum, limits, product, quotient."""
    channels, height, width = images(rng)
    network.input(1, channels, height, width)
    three, zero, six = (network.constant(np.array(value, np.float32)) for value in (3, 0, 6))
    for _ in range(2):
        x = network.last
        gate = network.add("Clip", network.add("Add", x, three), zero, six)
        network.add("Div", network.add("Mul", x, gate), six)


def binary(network: Network, rng: np.random.Generator) -> None:
    """Two tensors of one shape."""
    shape = _tensor(rng)
    x, y = network.input(*shape), network.input(*shape)
    for operator in rng.choice(["Add", "Mul", "Sub", "Div", "Max", "Sum"], 4):
        x = network.add(str(operator), x, y)


def broadcast(network: Network, rng: np.random.Generator) -> None:
    """A tensor and a number, a row, a column, or one number for each channel."""
    if rng.random() < 0.5:
        channels, height, width = images(rng)
        x = network.input(1, channels, height, width)
        others = [(1,), (1, channels, 1, 1), (1, 1, height, width)]
    else:
        rows, columns = _tensor(rng)
        x, others = network.input(1, rows, columns), [(1,), (columns,), (1, rows, 1)]
    y = network.input(*others[int(rng.integers(3))])
    for operator in rng.choice(["Add", "Mul", "Sub", "Div"], 4):
        x = network.add(str(operator), x, y)


def comparison(network: Network, rng: np.random.Generator) -> None:
    """Masks: where one tensor is the larger, and a choice by it."""
    shape = _tensor(rng)
    x, y = network.input(*shape), network.input(*shape)
    for operator in rng.choice(["Less", "Greater", "Equal"], 2):
        mask = network.add(str(operator), x, y)
        x = network.add("Where", network.add("Not", mask), x, y)


def expansion(network: Network, rng: np.random.Generator) -> None:
    """A column to all columns, and their sums back to it."""
    rows, columns = _tensor(rng)
    network.input(rows, 1)
    shape, axis = network.constant(np.array([rows, columns])), network.constant(np.array([-1]))
    for _ in range(2):
        network.add("Expand", network.last, shape)
        network.add("ReduceSum", network.last, axis)


def softmax(network: Network, rng: np.random.Generator) -> None:
    network.input(*_tensor(rng))
    for _ in range(3):
        network.add("Softmax", axis=-1)


def layer_norm(network: Network, rng: np.random.Generator) -> None:
    """As one operator, or in its parts, which some exporters write."""
    rows, columns = _tensor(rng)
    network.input(1, rows, columns)
    if rng.random() < 0.6:
        for _ in range(3):
            scale, shift = network.weight(columns), network.weight(columns)
            network.add("LayerNormalization", network.last, scale, shift, axis=-1)
        return
    two = network.constant(np.array(2.0, np.float32))
    for _ in range(2):
        centred = network.add("Sub", network.last, network.add("ReduceMean", axes=[-1]))
        variance = network.add("ReduceMean", network.add("Pow", centred, two), axes=[-1])
        network.add("Div", centred, network.add("Sqrt", variance))


def local_response_norm(network: Network, rng: np.random.Generator) -> None:
    channels, height, width = images(rng)
    network.input(1, channels, height, width)
    network.add("LRN", size=int(rng.choice([3, 5])), alpha=1e-4, beta=0.75)


def reduction(network: Network, rng: np.random.Generator) -> None:
    """Along the last axis, or the one before it."""
    rows, columns = _tensor(rng)
    batch = between(rng, 1, 8)
    network.input(batch, max(1, rows // batch), columns)
    operator = str(rng.choice(["ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"]))
    for axis in (-1, -2):
        network.add(operator, "input0", axes=[axis])
    network.add("Add", *(node.output[0] for node in network.nodes))


def transpose(network: Network, rng: np.random.Generator) -> None:
    rows, columns = _tensor(rng)
    parts = between(rng, 1, 16)
    network.input(1, max(1, rows // parts), parts, columns)
    orders = [[0, 2, 1, 3], [0, 2, 3, 1], [0, 1, 3, 2], [0, 3, 1, 2]]
    for order in rng.permutation(4)[:3]:
        network.add("Transpose", perm=orders[int(order)])


def concatenation(network: Network, rng: np.random.Generator) -> None:
    """Of channels, or of columns."""
    rows, columns = _tensor(rng)
    axis = int(rng.choice([1, -1]))
    names = [network.input(1, rows, columns) for _ in range(int(rng.integers(2, 5)))]
    for _ in range(2):
        network.add("Concat", *names, axis=axis)
        names[0] = network.last


def slices(network: Network, rng: np.random.Generator) -> None:
    """Split along the last axis, and a part of the middle one."""
    rows, columns = _tensor(rng)
    network.input(1, rows + 1, 2 * columns)
    start, stop, axis = (network.constant(np.array([value])) for value in (1, rows + 1, 1))
    network.add("Slice", network.last, start, stop, axis)
    network.add("Split", outputs=2, axis=-1)
    halves = list(network.nodes[-1].output)
    network.add("Concat", *reversed(halves), axis=-1)


def padding(network: Network, rng: np.random.Generator) -> None:
    channels, height, width = images(rng)
    network.input(1, channels, height, width)
    pads = network.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    for _ in range(2):
        network.add("Pad", network.last, pads, mode=str(rng.choice(["constant", "reflect"])))


def resize(network: Network, rng: np.random.Generator) -> None:
    """To twice the side, and once more where that is not too much."""
    channels, height, width = images(rng)
    network.input(1, channels, min(height, 64), min(width, 64))
    scales = network.constant(np.array([1, 1, 2, 2], np.float32))
    mode = str(rng.choice(["nearest", "linear"]))
    network.add("Resize", network.last, "", scales, mode=mode, coordinate_transformation_mode="asymmetric")


def gather(network: Network, rng: np.random.Generator) -> None:
    """Rows of a table, such as embeddings, then a column."""
    rows, columns = between(rng, 16, 4096), between(rng, 4, 512)
    table = network.weight(rows, columns)
    network.add("Gather", table, network.input(1, between(rng, 1, 512), dtype=np.int64, high=rows))
    network.add("Gather", network.last, network.constant(np.array(0)), axis=1)


def casts(network: Network, rng: np.random.Generator) -> None:
    from onnx import TensorProto

    network.input(*_tensor(rng))
    for kind in (TensorProto.INT32, TensorProto.FLOAT, TensorProto.INT64, TensorProto.FLOAT):
        network.add("Cast", to=kind)


def shapes(network: Network, rng: np.random.Generator) -> None:
    """A shape that is taken apart and put together again, as exporters write it where dimensions are free."""
    rows, columns = between(rng, 1, 64), between(rng, 1, 64, 2)
    x = network.input(rows, columns, free=True)
    half, rest = network.constant(np.array([columns // 2])), network.constant(np.array([2]))
    first, axis = network.constant(np.array(0)), network.constant(np.array([0]))
    for _ in range(3):
        batch = network.add("Unsqueeze", network.add("Gather", network.add("Shape", x), first), axis)
        split = network.add("Reshape", x, network.add("Concat", batch, rest, half, axis=0))
        moved = network.add("Transpose", network.add("Sigmoid", split), perm=[0, 2, 1])
        x = network.add("Reshape", moved, network.add("Shape", x))


def tiny(network: Network, rng: np.random.Generator) -> None:
    """Operators on a few numbers, of which the overhead alone remains."""
    network.input(1, between(rng, 1, 64))
    one, axis = network.constant(np.ones(1, np.float32)), network.constant(np.array([0]))
    for operator in rng.choice(["Add", "Sigmoid", "Reshape", "Squeeze", "Mul", "Tanh"], 20):
        match str(operator):
            case "Add" | "Mul":
                network.add(str(operator), network.last, one)
            case "Squeeze":
                network.add("Squeeze", network.add("Unsqueeze", network.last, axis), axis)
            case "Reshape":
                network.add("Flatten", axis=int(rng.integers(2)))
                network.add("Reshape", network.last, network.constant(np.array([1, -1])))
            case name:
                network.add(name)
