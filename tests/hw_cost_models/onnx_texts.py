"""Small ONNX files from their text form, and what is asked of their graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hw_cost_models.onnx_graph import read_onnx

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import networkx as nx

    from hw_cost_models.graph import Unknown

_VERSIONS = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>'


def model_of(text: str) -> onnx.ModelProto:
    """Of a graph, `name (inputs) => (outputs) <weights> { nodes }`, with or without the versions before it.

    Weights that are given no numbers are zero.
    """
    model = onnx.parser.parse_model(text if text.lstrip().startswith("<") else _VERSIONS + text)
    made = {name for node in model.graph.node for name in node.output}
    for value in [value for value in model.graph.value_info if value.name not in made]:
        tensor = value.type.tensor_type
        shape = [dim.dim_value for dim in tensor.shape.dim]
        zeros = np.zeros(shape, helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        model.graph.initializer.append(numpy_helper.from_array(zeros, value.name))
        model.graph.value_info.remove(value)
    return model


def write(folder: Path, text: str) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model_of(text).SerializeToString())
    return path


def graph_of(
    folder: Path, text: str, dimensions: Mapping[str, int] | None = None, unknown: Unknown = "error"
) -> nx.DiGraph:
    return read_onnx(write(folder, text), dimensions, unknown)


def running(graph: nx.DiGraph) -> list[dict[str, Any]]:
    """The nodes that are not free, in order."""
    return [node for _, node in graph.nodes.data() if not node["free"]]
