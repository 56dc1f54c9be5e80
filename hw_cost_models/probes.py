"""Probes: small networks, each a known amount of one kind of work, from whose times a machine's rates follow.

They are ONNX files without anything that a runtime could fold or drop, of the sizes that layers of small
networks have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from hw_cost_models.runtimes.runtime import Feed

Array = np.ndarray[Any, np.dtype[Any]]

_ROWS, _WIDTH, _PRODUCTS = 128, 512, 2
_IN_CACHE = (64, 4096)
"""A megabyte of float32: beyond the first caches, within the last."""
_BEYOND_CACHES = (4096, 4096)
"""64 megabytes of float32: more than the last cache of most machines, at twice that in use."""


@dataclass(frozen=True)
class Probe:
    """A network, its inputs, and what it does."""

    model: onnx.ModelProto
    inputs: Feed
    operators: int
    flops: float = 0.0
    """As the formulas of this package count them."""
    bytes: float = 0.0
    """Moved between operators, inputs and outputs included."""


def probes() -> dict[str, Probe]:
    """By name: products by type, kinds of kernels, memory, cache, and many operators that do nothing much."""
    return {
        "float32": _products(np.float32),
        "float16": _products(np.float16),
        "int8": _integer_products(),
        "convolution": _convolutions(),
        "attention": _attention(),
        "scan": _scan(),
        "elementwise": _elementwise(),
        "normalisation": _normalisation(),
        "reduction": _reduction(),
        "movement": _movement(),
        "memory": _additions(_BEYOND_CACHES, 2),
        "cache": _additions(_IN_CACHE, 24),
        "many": _additions((8, 8), 400),
        "few": _additions((8, 8), 40),
    }


def _products(dtype: type[np.floating[Any]]) -> Probe:
    """A chain of matrix products."""
    rng = np.random.default_rng(0)
    weights = {
        f"w{i}": (rng.standard_normal((_WIDTH, _WIDTH)) / _WIDTH**0.5).astype(dtype) for i in range(_PRODUCTS)
    }
    x = rng.standard_normal((_ROWS, _WIDTH)).astype(dtype)
    return _chain(x, [("MatMul", [w], {}) for w in weights], weights, flops=_product_flops())


def _integer_products() -> Probe:
    """Products of the same input, since sums of 32 bits are no input of the next."""
    rng = np.random.default_rng(0)
    weights = {
        f"w{i}": rng.integers(-64, 64, (_WIDTH, _WIDTH), dtype=np.int8)  # no sum of two overflows 16 bits
        for i in range(_PRODUCTS)
    }
    x = rng.integers(0, 255, (_ROWS, _WIDTH), dtype=np.uint8)
    nodes: list[Any] = [("MatMulInteger", ["input", w], [f"y{i}"], {}) for i, w in enumerate(weights)]
    return _network(x, nodes, weights, [f"y{i}" for i in range(_PRODUCTS)], flops=_product_flops())


def _product_flops() -> float:
    return 2.0 * _PRODUCTS * _ROWS * _WIDTH * _WIDTH


def _convolutions() -> Probe:
    """One of 3 x 3 and one of 1 x 1, over 64 channels of 28 x 28."""
    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.standard_normal((64, 64, 3, 3), dtype=np.float32) / 24,
        "w1": rng.standard_normal((64, 64, 1, 1), dtype=np.float32) / 8,
    }
    x = rng.standard_normal((1, 64, 28, 28), dtype=np.float32)
    steps: list[_Step] = [("Conv", ["w0"], {"pads": [1, 1, 1, 1]}), ("Conv", ["w1"], {})] * 2
    return _chain(x, steps, weights, flops=2.0 * 2 * 28 * 28 * 64 * 64 * (9 + 1))


def _attention() -> Probe:
    """softmax(x xᵀ) x of 4 heads, 192 tokens and 32 dimensions, twice."""
    x = np.random.default_rng(0).standard_normal((4, 192, 32), dtype=np.float32)
    nodes: list[_Node] = []
    for i, (before, after) in enumerate([("input", "x0"), ("x0", "x1")]):
        nodes += [
            ("Transpose", [before], [f"t{i}"], {"perm": [0, 2, 1]}),
            ("MatMul", [before, f"t{i}"], [f"scores{i}"], {}),
            ("Softmax", [f"scores{i}"], [f"p{i}"], {"axis": -1}),
            ("MatMul", [f"p{i}", before], [after], {}),
        ]
    return _network(x, nodes, {}, ["x1"], flops=2.0 * 4 * 192 * 192 * (2 * 32 + 5 + 2 * 32))


def _scan() -> Probe:
    """16 steps of an LSTM of 128 units: products of a vector, one after the other."""
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal((1, 512, 128), dtype=np.float32) / 12 for name in ("w", "r")}
    x = rng.standard_normal((16, 1, 128), dtype=np.float32)
    nodes: list[_Node] = [("LSTM", ["input", "w", "r"], ["y"], {"hidden_size": 128})]
    return _network(x, nodes, weights, ["y"], flops=2.0 * 16 * 2 * 512 * 128)


def _elementwise() -> Probe:
    """What activations are made of, in equal parts: half of it plain arithmetic, half of it functions."""
    x = np.random.default_rng(0).standard_normal(_IN_CACHE, dtype=np.float32)
    names = ("Sigmoid", "Mul", "Tanh", "Add", "Erf", "Relu")
    steps: list[_Step] = [(name, ["one"] if name in ("Mul", "Add") else [], {}) for name in names]
    return _chain(x, steps, _ONE, flops=float(len(names) * x.size))


def _normalisation() -> Probe:
    """A softmax, of 5 operations an element, and a layer normalisation, of 8."""
    x = np.random.default_rng(0).standard_normal((256, 256), dtype=np.float32)
    scale = {"scale": np.full(256, 1.5, dtype=np.float32), "shift": np.full(256, 0.5, dtype=np.float32)}
    steps: list[_Step] = [
        ("Softmax", [], {"axis": -1}),
        ("LayerNormalization", ["scale", "shift"], {"axis": -1}),
    ] * 2
    return _chain(x, steps, scale, flops=2.0 * (5 + 8) * x.size)


def _reduction() -> Probe:
    """Means over the last axis and over the one before it."""
    x = np.random.default_rng(0).standard_normal((16, 128, 128), dtype=np.float32)
    nodes = [(f"ReduceMean{axis}", axis) for axis in (-1, -2)]
    made = [("ReduceMean", ["input", f"axis{axis}"], [name], {"keepdims": 1}) for name, axis in nodes]
    axes = {f"axis{axis}": np.array([axis]) for _, axis in nodes}
    return _network(x, made, axes, [name for name, _ in nodes], flops=2.0 * x.size)


def _movement() -> Probe:
    """Of a megabyte, side by side so that none undoes another: two transpositions and a concatenation."""
    x = np.random.default_rng(0).standard_normal((1, 256, 16, 64), dtype=np.float32)
    nodes: list[_Node] = [
        ("Transpose", ["input"], ["heads"], {"perm": [0, 2, 1, 3]}),
        ("Transpose", ["input"], ["columns"], {"perm": [0, 2, 3, 1]}),
        ("Concat", ["input", "input"], ["twice"], {"axis": -1}),
    ]
    return _network(x, nodes, {}, ["heads", "columns", "twice"], bytes_moved=float((2 + 2 + 3) * x.nbytes))


def _additions(shape: tuple[int, ...], count: int) -> Probe:
    """Each reads and writes its tensor once."""
    x = np.zeros(shape, dtype=np.float32)
    return _chain(x, [("Add", ["one"], {})] * count, _ONE, bytes_moved=2.0 * count * x.nbytes)


_ONE = {"one": np.ones(1, dtype=np.float32)}

_Step = tuple[str, list[str], dict[str, Any]]
"""An operator, its constants, its attributes."""
_Node = tuple[str, list[str], list[str], dict[str, Any]]
"""An operator, its inputs, its outputs, its attributes."""


def _chain(x: Array, steps: Sequence[_Step], constants: dict[str, Array], **work: float) -> Probe:
    """Each operator takes what the one before gave."""
    names = ["input", *(f"x{i}" for i in range(len(steps)))]
    nodes = [
        (operator, [before, *extra], [after], attributes)
        for (operator, extra, attributes), before, after in zip(steps, names, names[1:], strict=False)
    ]
    return _network(x, nodes, constants, names[-1:], **work)


def _network(
    x: Array,
    nodes: Sequence[_Node],
    constants: dict[str, Array],
    outputs: list[str],
    flops: float = 0.0,
    bytes_moved: float = 0.0,
) -> Probe:
    from onnx import helper, numpy_helper, shape_inference

    graph = helper.make_graph(
        [helper.make_node(operator, ins, outs, **extra) for operator, ins, outs, extra in nodes],
        "probe",
        [helper.make_tensor_value_info("input", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    # A version of the format, and of the operators, that every runtime of the last years reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return Probe(shape_inference.infer_shapes(model), {"input": x}, len(nodes), flops, bytes_moved)
