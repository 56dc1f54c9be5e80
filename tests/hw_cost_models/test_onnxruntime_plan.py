"""Who shares whose buffer, by hand, and against what ONNX Runtime says of every operator."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from hw_cost_models.onnx_file import read_file
from hw_cost_models.onnxruntime_plan import IN_PLACE, VIEWS, plan

if TYPE_CHECKING:
    from pathlib import Path

_Nodes = list[tuple[str, str, str]]


def _planned(folder: Path, nodes: _Nodes, same: bool = True) -> list[tuple[list[str], list[str]]]:
    """Of nodes as "operator", "inputs", "outputs": what each allocates and frees."""
    made = [helper.make_node(op, inputs.split(), outputs.split()) for op, inputs, outputs in nodes]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(helper.make_graph(made, "g", values[:1], values[1:])), path)
    steps = plan(read_file(path).body, lambda one, other: same)
    return [(step.allocates, step.frees) for step in steps]


def test_a_chain_needs_one_buffer_beside_its_output(tmp_path: Path) -> None:
    nodes = [("Exp", "x", "a"), ("Relu", "a", "b"), ("Sigmoid", "b", "c"), ("Exp", "c", "y")]
    assert _planned(tmp_path, nodes) == [(["a"], []), ([], []), ([], []), (["y"], ["a"])]


def test_sizes_that_are_not_known_are_not_shared(tmp_path: Path) -> None:
    nodes = [("Exp", "x", "a"), ("Relu", "a", "b"), ("Exp", "b", "y")]
    assert _planned(tmp_path, nodes, same=False) == [(["a"], []), (["b"], ["a"]), (["y"], ["b"])]


def test_what_is_read_again_is_not_overwritten(tmp_path: Path) -> None:
    nodes = [("Exp", "x", "a"), ("Relu", "a", "b"), ("Add", "a b", "y")]
    assert _planned(tmp_path, nodes) == [(["a"], []), (["b"], []), (["y"], ["a", "b"])]


def test_a_free_buffer_is_kept_for_the_next(tmp_path: Path) -> None:
    nodes = [("Exp", "x", "a"), ("Exp", "a", "b"), ("Exp", "b", "c"), ("Exp", "c", "y")]
    assert _planned(tmp_path, nodes) == [(["a"], []), (["b"], []), ([], ["b"]), (["y"], ["a"])]


def test_a_view_holds_its_base(tmp_path: Path) -> None:
    nodes = [("Exp", "x", "a"), ("Flatten", "a", "b"), ("Exp", "x", "c"), ("Add", "b c", "y")]
    assert _planned(tmp_path, nodes) == [(["a"], []), ([], []), (["c"], []), (["y"], ["a", "c"])]


def test_inputs_are_the_callers_and_outputs_have_their_own(tmp_path: Path) -> None:
    assert _planned(tmp_path, [("Relu", "x", "a"), ("Relu", "a", "y")]) == [(["a"], []), (["y"], ["a"])]
    assert _planned(tmp_path, [("Flatten", "x", "a"), ("Exp", "a", "y")]) == [([], []), (["y"], [])]


_CHILD = """
import sys
import numpy as np
import onnxruntime as ort
ort.set_default_logger_severity(0)
memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
arena = ort.OrtArenaCfg({"arena_extend_strategy": 1, "max_dead_bytes_per_chunk": 1})
ort.create_and_register_allocator_v2("CPUExecutionProvider", memory, {}, arena)
options = ort.SessionOptions()
options.enable_mem_pattern = False
options.intra_op_num_threads = 1
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
options.add_session_config_entry("session.use_env_allocators", "1")
for model in sys.argv[1:]:
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (tensor,) = session.get_inputs()
    session.run(None, {"x": np.ones(tensor.shape, np.float32)})
"""

_OTHERS = (
    "Abs",
    "Add",
    "Ceil",
    "Cos",
    "Erf",
    "Exp",
    "Floor",
    "Log",
    "Mul",
    "Neg",
    "Sqrt",
    "Sub",
    "Transpose",
)


def test_in_place_as_the_runtime_has_it(tmp_path: Path) -> None:
    """Each operator alone, on tensors larger than all before: the arena has to grow for each of them."""
    operators = sorted({*IN_PLACE, *VIEWS, *_OTHERS})
    sizes = {operator: 4 * 64 * (number + 100) for number, operator in enumerate(operators)}
    models = []
    for operator in operators:
        model = _alone(operator, sizes[operator] // 4 // 64)
        models.append(str(tmp_path / f"{operator}.onnx"))
        onnx.save(model, models[-1])
    log = subprocess.run([sys.executable, "-c", _CHILD, *models], capture_output=True, check=True).stderr
    grown = [int(size) for size in re.findall(rb"Extended allocation by (\d+)", log)]
    counts = {operator: grown.count(size) for operator, size in sizes.items()}
    assert counts == {operator: 2 - (operator in IN_PLACE | VIEWS) for operator in operators}


def _alone(operator: str, rows: int) -> onnx.ModelProto:
    """A tensor that the network owns, the operator, and a small output."""
    shape = [rows, 64]
    inputs, attributes = ["a"], {}
    constants: list[onnx.TensorProto] = []
    match operator:
        case "Add" | "Mul" | "Sub":
            inputs = ["a", "x"]
        case "Cast":
            attributes = {"to": TensorProto.FLOAT}
        case "Reshape":
            constants = [helper.make_tensor("c", TensorProto.INT64, [2], [64, rows])]
        case "Squeeze" | "Unsqueeze":
            shape = [1, rows, 64]
            constants = [helper.make_tensor("c", TensorProto.INT64, [1], [0])]
        case "ScatterElements":
            constants = [
                helper.make_tensor("c", TensorProto.INT64, [1, 1], [0]),
                helper.make_tensor("d", TensorProto.FLOAT, [1, 1], [1.0]),
            ]
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=[*range(len(shape))]),
        helper.make_node(operator, [*inputs, *(tensor.name for tensor in constants)], ["b"], **attributes),
        helper.make_node("Size", ["b"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "alone",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
