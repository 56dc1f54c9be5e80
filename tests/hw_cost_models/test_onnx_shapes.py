"""Shapes and types against those of ONNX Runtime, value by value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.export import export_onnx
from hw_cost_models.onnx_graph import read_onnx
from tests.hw_cost_models.onnx_texts import model_of

if TYPE_CHECKING:
    from pathlib import Path

_Items = dict[str, tuple[nn.Module, tuple[Tensor, ...]]]


def _made(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of everything that ONNX Runtime makes when it runs every node as it stands."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    known = {value.name for value in whole.graph.output}
    names = [name for node in whole.graph.node for name in node.output if name]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(names, inputs)
    return {name: (np.shape(r), np.asarray(r).dtype.name) for name, r in zip(names, results, strict=True)}


def _read(path: Path, model: onnx.ModelProto, dimensions: dict[str, int]) -> dict[str, Any]:
    graph = read_onnx(path, dimensions)
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    assert len(nodes) == len(graph)
    return {
        name: (shape, dtype)
        for node, (_, read) in zip(nodes, graph.nodes.data(), strict=True)
        for name, shape, dtype in zip(filter(None, node.output), read["shapes"], read["dtypes"], strict=True)
    }


def _agree(path: Path, dimensions: dict[str, int], inputs: dict[str, np.ndarray]) -> None:
    model = onnx.load(path)
    read = _read(path, model, dimensions)
    made = _made(model, inputs)
    assert read == {name: made[name] for name in read}


@pytest.mark.parametrize("name", ["attention", "lm"])
def test_everything_in_an_export(examples: _Items, tmp_path: Path, name: str) -> None:
    module, (example,) = examples[name]
    path = tmp_path / "model.onnx"
    free = {0: "batch", 1: "length"}
    export_onnx(module, (example,), path, dynamic=free, input_names=["x"], output_names=["y"])
    for batch, length in ((1, 6), (3, 11)):
        x = torch.ones(batch, length, *example.shape[2:], dtype=example.dtype).numpy()
        _agree(path, {"batch": batch, "length": length}, {"x": x})


def test_calculated_shapes(tmp_path: Path) -> None:
    text = """g (float[n,h,w] x) => (y, z, t)
    <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}, int64[1] rest = {-1},
     float f = {2.0}> {
        s = Shape (x)
        batch = Gather (s, zero)
        picture = Slice (s, one, three, zero)
        area = ReduceProd <keepdims = 1> (picture)
        half = Div (area, two)
        target = Concat <axis = 0> (batch, rest)
        flat = Reshape (x, target)
        wide = Concat <axis = 0> (batch, area)
        filled = ConstantOfShape (wide)
        y = Add (flat, filled)
        size = Concat <axis = 0> (batch, half, two)
        z = Expand (f, size)
        same = Equal (half, area)
        chosen = Where (same, one, two)
        t = Tile (half, chosen)
    }"""
    path = tmp_path / "model.onnx"
    onnx.save(model_of(text), path)
    _agree(path, {"n": 2, "h": 3, "w": 4}, {"x": np.ones((2, 3, 4), np.float32)})
    _agree(path, {"n": 1, "h": 5, "w": 2}, {"x": np.ones((1, 5, 2), np.float32)})


def test_pictures(tmp_path: Path) -> None:
    text = """g (float[n,3,h,w] x) => (y, r)
    <float[8,3,3,3] a, float[8,4,2,2] b, int64[1] k = {2}, float[4] s = {1.0, 1.0, 2.0, 1.5}> {
        c = Conv <pads = [1,1,1,1], strides = [2,2]> (x, a)
        p = MaxPool <kernel_shape = [2,2], ceil_mode = 1, strides = [2,2]> (c)
        t = ConvTranspose <strides = [2,2]> (p, b)
        r = Resize (t, , s)
        q = GlobalAveragePool (t)
        f = Flatten (q)
        v, i = TopK (f, k)
        y = Cast <to = 7> (v)
    }"""
    path = tmp_path / "model.onnx"
    onnx.save(model_of(text), path)
    _agree(path, {"n": 2, "h": 9, "w": 10}, {"x": np.ones((2, 3, 9, 10), np.float32)})
