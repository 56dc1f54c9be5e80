"""Small ONNX files for tests of memory in ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper, numpy_helper

from hw_cost_models.runtimes.process import Network, arena_and_resident

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

MS = "com.microsoft"


def arena(path: Path, **inputs: np.ndarray) -> int:
    """What ONNX Runtime's arena really grows to, in a fresh process."""
    return arena_and_resident(Network(path.name, path, inputs), threads=1)[0]


def save(
    folder: Path, nodes: list[onnx.NodeProto], shape: list[int], opset: int = 20, **weights: np.ndarray
) -> Path:
    """A file that takes x and returns the size of what its last node makes."""
    size = helper.make_node("Size", [nodes[-1].output[0]], ["y"])
    graph = helper.make_graph(
        [*nodes, size],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1)]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path
