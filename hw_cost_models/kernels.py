"""Kernels: what ONNX Runtime runs of a file, once its own optimiser has fused what it can.

The optimised graph is read as any file is, with the operators that the optimiser puts in: convolutions on
channels in blocks, the copies that make blocks of channels and undo them, products and convolutions with an
activation in them. ONNX Runtime loads the file for that and does not run it.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_cost_models.errors import HardwareCostError
from hw_cost_models.onnx_file import read_file
from hw_cost_models.onnx_reader import Reader
from hw_cost_models.onnxruntime_shapes import OptimisedShapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import networkx as nx

    from hw_cost_models.graph import Kind, Shape
    from hw_cost_models.onnx_file import File

_BLOCKED = "com.microsoft.nchwc"
_BLOCKED_KINDS: dict[str, Kind] = {
    "Conv": "convolution",
    "MaxPool": "reduction",
    "AveragePool": "reduction",
    "GlobalMaxPool": "reduction",
    "GlobalAveragePool": "reduction",
    "Upsample": "elementwise",
}
"""Of operators on channels in blocks; the rest of them copy."""


@dataclass(frozen=True)
class Kernel:
    """One operator of the optimised graph."""

    operator: str
    """Without its domain, and whether or not an activation is fused into it: "Gemm", "blocked Conv"."""
    kind: Kind
    dtype: str
    flops: float
    tensor_bytes: int
    """Read and written, weights apart; none by a view."""
    weight_bytes: int
    input_shapes: tuple[Shape, ...]
    shape: Shape
    """Of the first output."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Kernel:
        inputs = tuple(tuple(shape) for shape in value["input_shapes"])
        return cls(**{**value, "input_shapes": inputs, "shape": tuple(value["shape"])})


@dataclass(frozen=True)
class Kernels:
    """A network as ONNX Runtime runs it."""

    kernels: tuple[Kernel, ...]
    weight_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return {"kernels": [kernel.to_dict() for kernel in self.kernels], "weight_bytes": self.weight_bytes}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Kernels:
        return cls(tuple(map(Kernel.from_dict, value["kernels"])), value["weight_bytes"])


def kernels_of(path: Path, dimensions: Mapping[str, int] | None = None) -> Kernels:
    """What runs of the file; `dimensions` set those that are free, as in `read_onnx`.

    Raises HardwareCostError for a file that ONNX Runtime does not load and for a dimension without a value,
    DamagedFileError as `read_onnx` does.
    """
    file = optimised(path)
    shapes = OptimisedShapes(file, dimensions or {})
    reader = Reader(file, shapes, "skip")
    values = shapes.inputs()
    for value in values.values():
        value.memory = reader.new_memory(value.bytes, -1)
    values = reader.walk(file.body, values)
    graph = reader.finish([reader.look_up(values, name) for name in file.body.outputs])
    return Kernels(tuple(_kernels(graph)), int(graph.graph["weight_bytes"]))


def optimised(path: Path) -> File:
    """The graph that ONNX Runtime makes of the file for this machine's CPU, under the file's own path."""
    import onnxruntime

    read_file(path)  # whose errors say what to do
    with tempfile.TemporaryDirectory(prefix="dnas-optimised-") as folder:
        target = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns that the graph is for this machine alone
        options.intra_op_num_threads = 1
        options.optimized_model_filepath = str(target)
        for key, value in (("file_name", "weights"), ("min_size_in_bytes", "65536")):
            options.add_session_config_entry(f"session.optimized_model_external_initializers_{key}", value)
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # it has an exception for each of its status codes, without a root
            reason = " ".join(str(error).split())
            raise HardwareCostError(f"{path}: ONNX Runtime does not load it: {reason}") from None
        return replace(read_file(target), path=path)


def _kernels(graph: nx.DiGraph) -> list[Kernel]:
    return [_kernel(operator) for _, operator in graph.nodes.data() if operator["shapes"]]


def _kernel(operator: Mapping[str, Any]) -> Kernel:
    kind, flops = operator["kind"], float(operator["flops"])
    shape, inputs = tuple(operator["shapes"][0]), tuple(map(tuple, operator["input_shapes"]))
    domain, _, name = operator["operator"].rpartition(".")
    if domain == _BLOCKED:
        kind = _BLOCKED_KINDS.get(name, "movement")
        name = f"blocked {name}"
        if kind == "convolution":  # every weight is used once at every position of the output
            flops = 2.0 * math.prod(inputs[1]) * math.prod(shape) / max(shape[1], 1)
        elif kind == "reduction":
            flops = float(math.prod(inputs[0]))
    return Kernel(
        operator=name.removeprefix("Fused"),
        kind=kind,
        dtype=operator["dtype"],
        flops=flops,
        tensor_bytes=operator["bytes_read"] + operator["bytes_written"] - operator["weight_bytes"],
        weight_bytes=operator["weight_bytes"],
        input_shapes=inputs,
        shape=shape,
    )
