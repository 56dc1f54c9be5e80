"""What probes claim to do, counted by ONNX's own reference and shape inference; that they run."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from hw_cost_models.probes import probes

PROBES = probes()
SMALL = [name for name in PROBES if name not in ("memory", "convolution", "many")]


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
    return shapes | {weight.name: tuple(weight.dims) for weight in model.graph.initializer}


@pytest.mark.parametrize("name", PROBES)
def test_valid(name: str) -> None:
    model = PROBES[name].model
    onnx.checker.check_model(model, full_check=True)
    assert PROBES[name].operators == len(model.graph.node)


@pytest.mark.parametrize("name", ["float32", "float16", "int8", "convolution"])
def test_products_are_counted(name: str) -> None:
    """Two operations for each weight that an element of the result takes."""
    graph, shapes, flops = PROBES[name].model.graph, _shapes(PROBES[name].model), 0
    for node in graph.node:
        weight, result = shapes[node.input[1]], shapes[node.output[0]]
        terms = math.prod(weight[1:]) if node.op_type == "Conv" else weight[0]
        flops += 2 * terms * math.prod(result)
    assert PROBES[name].flops == flops


@pytest.mark.parametrize("name", ["memory", "cache", "movement"])
def test_bytes_are_counted(name: str) -> None:
    """Every tensor as often as it is written or read; the constants are a number each."""
    graph, shapes = PROBES[name].model.graph, _shapes(PROBES[name].model)
    constants = {weight.name for weight in graph.initializer}
    moved = 0
    for node in graph.node:
        read = {x for x in node.input if x not in constants}
        moved += sum(4 * math.prod(shapes[x]) for x in (*read, *node.output))
    assert PROBES[name].bytes == moved


@pytest.mark.parametrize("name", SMALL)
def test_the_runtime_agrees_with_the_reference(name: str) -> None:
    """Nothing is optimised away: what comes out is what the operators say."""
    probe = PROBES[name]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(probe.model.SerializeToString(), options)
    expected = ReferenceEvaluator(probe.model).run(None, probe.inputs)
    for got, wanted in zip(session.run(None, probe.inputs), expected, strict=True):
        np.testing.assert_allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=0.02, atol=0.02)
