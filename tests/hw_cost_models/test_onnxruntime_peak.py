"""What is predicted of a file against what ONNX Runtime's own log says that its arena grew to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from hw_cost_models.errors import DamagedFileError, HardwareCostError
from hw_cost_models.export import export_onnx
from hw_cost_models.onnxruntime_peak import onnxruntime_memory
from tests.hw_cost_models.onnx_files import arena, save

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.measured
def test_free_dimensions_to_the_byte(tmp_path: Path, examples: dict[str, tuple[nn.Module, Any]]) -> None:
    """Attention, whose shapes are made from its inputs': most of its buffers are not shared."""
    path = tmp_path / "lm.onnx"
    export_onnx(
        examples["lm"][0],
        (torch.zeros(1, 16, dtype=torch.long),),
        path,
        dynamic={0: "batch", 1: "length"},
        input_names=["tokens"],
        output_names=["logits"],
    )
    memory = onnxruntime_memory(path, {"batch": 3, "length": 200})
    assert memory.arena_bytes == arena(path, tokens=np.zeros((3, 200), np.int64))
    assert memory.input_bytes == 3 * 200 * 8
    assert memory.output_bytes == 3 * 200 * 32 * 4
    assert memory.weight_bytes >= sum(p.nbytes for p in examples["lm"][0].parameters())
    assert memory.activation_bytes <= memory.arena_bytes
    assert memory.peak_bytes > memory.running_bytes >= memory.arena_bytes + memory.weight_bytes


@pytest.mark.measured
def test_blocked_convolutions_and_a_residual_to_the_byte(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {f"w{n}": rng.normal(size=(16, 3 if n == 0 else 16, 3, 3)).astype("f") for n in range(3)}
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "w1"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w2"], ["d"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["d", "a"], ["e"]),
        helper.make_node("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["f"], ["g"]),
    ]
    path = save(tmp_path, nodes, [2, 3, 40, 40], **weights)
    memory = onnxruntime_memory(path)
    assert memory.arena_bytes == arena(path, x=np.zeros((2, 3, 40, 40), np.float32))
    assert memory.weight_bytes >= sum(array.nbytes for array in weights.values())


def _node(operator: str, inputs: str, domain: str = "", **attributes: Any) -> list[onnx.NodeProto]:
    return [helper.make_node(operator, inputs.split(), ["a"], domain=domain, **attributes)]


def _floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_what_is_computed_while_loading_counts(tmp_path: Path) -> None:
    """A weight that is made from another by way of two more, of which one is left to run."""
    nodes = [
        helper.make_node("Abs", ["w"], ["u"]),
        helper.make_node("Sqrt", ["u"], ["v"]),
        helper.make_node("MatMul", ["x", "v"], ["a"]),
    ]
    path = save(tmp_path, nodes, [4, 256], w=_floats(256, 256))
    memory = onnxruntime_memory(path)
    one = 256 * 256 * 4
    assert memory.weight_bytes == one
    assert memory.loading_bytes == 3 * one, "the weight and two made of it"
    assert memory.peak_bytes == memory.loading_bytes + memory.runtime_bytes


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(HardwareCostError, match=r"none\.onnx cannot be read"):
        onnxruntime_memory(tmp_path / "none.onnx")
    whole = save(tmp_path, _node("Exp", "x"), [4])
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole.read_bytes()[:-9])
    with pytest.raises(DamagedFileError, match=r"cut\.onnx is no whole ONNX file"):
        onnxruntime_memory(cut)
    unknown = save(tmp_path, _node("Marvel", "x", "nowhere"), [4])
    with pytest.raises(HardwareCostError, match=r"model\.onnx: ONNX Runtime does not load it: .*nowhere"):
        onnxruntime_memory(unknown)


def test_free_dimensions_need_numbers(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Exp", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
    )
    path = tmp_path / "free.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    with pytest.raises(HardwareCostError, match="no value for 'batch'"):
        onnxruntime_memory(path)
    assert onnxruntime_memory(path, {"batch": 100}).arena_bytes == 100 * 4 * 4 + 192


def test_loops_are_refused(tmp_path: Path) -> None:
    """A loop as long as the data say."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Exp", ["s"], ["t"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, [4]),
        ],
        [
            helper.make_tensor_value_info("d", TensorProto.BOOL, []),
            helper.make_tensor_value_info("t", TensorProto.FLOAT, [4]),
        ],
    )
    turns = numpy_helper.from_array(np.array(3), "n")
    nodes = [helper.make_node("Loop", ["n", "", "x"], ["a"], body=body)]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [4])],
        [turns],
    )
    path = tmp_path / "loop.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    with pytest.raises(HardwareCostError, match="memory is not predicted for Loop"):
        onnxruntime_memory(path)
