"""The graph of operators of an ONNX file, in the format of `hw_cost_models.graph`.

    graph = read_onnx(Path("model.onnx"), {"batch": 1, "length": 256})

Every shape is a number once the free dimensions are set. What a runtime computes when it loads the file (all
that follows from weights and from shapes that are fixed in it) is free, and so are views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw_cost_models.onnx_file import read_file, understood
from hw_cost_models.onnx_reader import Reader
from hw_cost_models.onnx_shapes import ShapeInference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import networkx as nx

    from hw_cost_models.graph import Unknown


def read_onnx(
    path: Path, dimensions: Mapping[str, int] | None = None, unknown: Unknown = "error"
) -> nx.DiGraph:
    """The operators of one run of the file, as `hw_cost_models.graph` describes them.

    `dimensions` set those that are free in the file, by their names; one without a name is "input:axis". The
    value of an input that is a single integer may be among them. Of a branch that data decide the dearer side
    is taken; how often a loop runs that data end is given among the dimensions, too, under the loop's name.

    Raises UnknownOperatorError for an operator without a formula, unless they are to be skipped;
    DamagedFileError for a file that is cut short, of another kind, or lacks data; HardwareCostError for a
    dimension without a value. Nothing of the file is run.
    """
    file = read_file(path)
    with understood(path, "the inputs"):
        shapes = ShapeInference(file, dimensions or {})
        values = shapes.inputs()
    reader = Reader(file, shapes, unknown)
    for value in values.values():
        value.memory = reader.new_memory(value.bytes, -1)
    values = reader.walk(file.body, values)
    return reader.finish([reader.look_up(values, name) for name in file.body.outputs])
