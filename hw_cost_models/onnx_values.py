"""Values of an ONNX graph whose every dimension is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import TensorProto, TypeProto, helper

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import numpy as np

    from hw_cost_models.graph import Shape

SMALL = 4096
"""Tensors of up to so many elements may be shapes, indices, scales: what is known of them is kept."""

_BITS = {"int4": 4, "uint4": 4, "float4_e2m1fn": 4, "int2": 2, "uint2": 2}
"""Of an element, where it is less than a byte."""


@dataclass(eq=False)
class Memory:
    """Where one or more values lie, in which steps."""

    bytes: int
    born: int
    dies: int


@dataclass(eq=False)
class Value:
    """A tensor of the graph: its shape, and what is known of it before the graph runs."""

    element: int
    """The type of an element, as TensorProto has it."""
    shape: Shape
    data: np.ndarray | None = None
    """If they are known, because they are constant or follow from shapes."""
    constant: bool = False
    """There before the graph runs: a weight, or what follows from weights."""
    dynamic: bool = False
    """Its shape follows from a dimension that is free in the file."""
    producer: int | None = None
    """The step that makes it."""
    memory: Memory | None = None
    """None of a constant."""
    origin: Hashable = None
    """Of a constant, which weight it is, or which it is a view of."""
    integers: Value | None = None
    """What there is in its place, where a runtime calculates in integers."""
    scales: Sequence[Value] = ()
    """What is read together with such integers."""
    choices: int = 0
    """Of indices that a router picks, how many there are to pick from."""
    density: float | None = None
    """Of a mask, what part of it is expected to be true."""

    @property
    def dtype(self) -> str:
        return dtype_name(self.element)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        bits = _BITS.get(self.dtype) or 8 * helper.tensor_dtype_to_np_dtype(self.element).itemsize
        return math.ceil(self.elements * bits / 8)

    @property
    def held(self) -> Value:
        """What is in memory: the value itself, unless only its integers are."""
        return self.integers or self

    @property
    def type(self) -> TypeProto:
        return helper.make_tensor_type_proto(self.element, self.shape)


def constant(element: int, shape: Shape, data: np.ndarray | None) -> Value:
    """A weight or a literal."""
    return Value(element, shape, data, constant=True)


def dtype_name(element: int) -> str:
    """Such as "float32", of a type as TensorProto has it."""
    return "string" if element == TensorProto.STRING else helper.tensor_dtype_to_np_dtype(element).name
