"""The anchors as modules, for a runtime that runs modules: made from the files, so that they are the same."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "MatMul": torch.matmul,
    "Mul": operator.mul,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Softmax": torch.softmax,
    "Tanh": torch.tanh,
    "Transpose": torch.permute,
}
"""Each operator that anchors are made of; attributes follow its inputs, in the same order in both."""


def module_of(model: onnx.ModelProto) -> nn.Module:
    """A module that calls one function for each operator of the file; KeyError for one not in the table."""
    from onnx import helper, numpy_helper

    weights = nn.Module()
    graph = fx.Graph()
    values: dict[str, fx.Node] = {}
    for value in model.graph.input:
        values[value.name] = graph.placeholder(value.name)
    for constant in model.graph.initializer:
        tensor: Tensor = torch.from_numpy(numpy_helper.to_array(constant).copy())
        weights.register_buffer(constant.name, tensor)
        values[constant.name] = graph.get_attr(constant.name)
    for node in model.graph.node:
        inputs = [values[name] for name in node.input]
        attributes = [helper.get_attribute_value(attribute) for attribute in node.attribute]
        values[node.output[0]] = graph.call_function(_FUNCTIONS[node.op_type], (*inputs, *attributes))
    graph.output(values[model.graph.output[0].name])
    return fx.GraphModule(weights, graph)
