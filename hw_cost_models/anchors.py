"""Anchors: fixed networks that ride in every measurement, so that two measurements can be compared.

The same file timed in another process, or on another day, is a few percent faster or slower. The anchors are
hit alike, so the ratio of their times is the drift of the machine. Three kinds of work stand for what
networks do: arithmetic (matrix products), memory traffic with exponentials (attention), and the runtime's
own overhead (many tiny operators). Each takes about a millisecond or less on one thread of a current CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx

ANCHORS = ("matmul", "attention", "elementwise")

Array = np.ndarray[Any, np.dtype[Any]]


def write_anchors(folder: Path) -> dict[str, tuple[Path, dict[str, Array]]]:
    """Build the anchors in `folder`: name to file and inputs. They are the same bytes every time."""
    rng = np.random.default_rng(0)
    built = dict(zip(ANCHORS, (_matmul(rng), _attention(), _elementwise()), strict=True))
    anchors = {}
    for name, model in built.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        anchors[name] = (path, {"input": rng.standard_normal(shape, dtype=np.float32)})
    return anchors


def _matmul(rng: np.random.Generator) -> onnx.ModelProto:
    """Eight layers of 256 by 256 with a rectifier, 128 rows: 134 MFLOP."""
    weights = {f"w{i}": rng.standard_normal((256, 256), dtype=np.float32) / 16 for i in range(8)}
    return _chain([step for w in weights for step in (("MatMul", w), ("Relu",))], weights, (128, 256))


def _attention() -> onnx.ModelProto:
    """Four rounds of softmax(x xᵀ) x, without weights."""
    from onnx import helper

    nodes, x = [], "input"
    for i in range(4):
        nodes += [
            helper.make_node("Transpose", [x], [f"t{i}"], perm=[0, 2, 1]),
            helper.make_node("MatMul", [x, f"t{i}"], [f"scores{i}"]),
            helper.make_node("Softmax", [f"scores{i}"], [f"p{i}"], axis=-1),
            helper.make_node("MatMul", [f"p{i}", x], [f"x{i}"]),
        ]
        x = f"x{i}"
    return _model(nodes, {}, (4, 192, 32), x)


def _elementwise() -> onnx.ModelProto:
    """Four hundred operators on 4096 numbers each."""
    one = {"one": np.ones(1, dtype=np.float32)}
    return _chain([("Sigmoid",), ("Tanh",), ("Add", "one"), ("Mul", "one")] * 100, one, (64, 64))


def _chain(
    steps: list[tuple[str, ...]], constants: Mapping[str, Array], shape: tuple[int, ...]
) -> onnx.ModelProto:
    """Operators one after the other; each takes what the one before gave, and a constant if it names one."""
    from onnx import helper

    nodes, x = [], "input"
    for i, (operator, *constant) in enumerate(steps):
        nodes.append(helper.make_node(operator, [x, *constant], [f"x{i}"]))
        x = f"x{i}"
    return _model(nodes, constants, shape, x)


def _model(
    nodes: list[onnx.NodeProto], constants: Mapping[str, Array], shape: tuple[int, ...], output: str
) -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "anchor",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    # An intermediate representation and operator set that every runtime of the last years reads.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
