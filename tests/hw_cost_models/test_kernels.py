"""Kernels of small files against what ONNX Runtime is known to make of them, and hand arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hw_cost_models.errors import DamagedFileError, HardwareCostError
from hw_cost_models.kernels import Kernel, Kernels, kernels_of

if TYPE_CHECKING:
    from pathlib import Path


def _file(
    path: Path,
    nodes: list[onnx.NodeProto],
    shape: list[int | str],
    weights: dict[str, tuple[int, ...]],
    opset: int = 17,
) -> Path:
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info("y")],
        [
            numpy_helper.from_array(rng.standard_normal(dims).astype(np.float32), name)
            for name, dims in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def _node(operator: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], **attributes)


def test_a_convolution_takes_in_what_follows_it(tmp_path: Path) -> None:
    nodes = [
        _node("Conv", ["x", "w"], "a", pads=[1, 1, 1, 1]),
        _node("BatchNormalization", ["a", "s", "s", "s", "v"], "b"),
        _node("Relu", ["b"], "y"),
    ]
    weights: dict[str, tuple[int, ...]] = {"w": (64, 32, 3, 3), "s": (64,)}
    path = _file(tmp_path / "conv.onnx", nodes, [1, 32, 10, 12], weights)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(64, np.float32), "v"))
    onnx.save(model, path)
    network = kernels_of(path)
    (convolution,) = (kernel for kernel in network.kernels if kernel.kind == "convolution")
    assert convolution.operator in ("Conv", "blocked Conv")  # blocked where the processor has wide registers
    assert convolution.flops == 2 * (64 * 32 * 9) * (10 * 12)
    assert convolution.tensor_bytes == 4 * (32 + 64) * 10 * 12
    assert convolution.weight_bytes == 4 * (64 * 32 * 9 + 64)
    assert {kernel.kind for kernel in network.kernels} <= {"convolution", "movement"}
    assert network.weight_bytes == convolution.weight_bytes


def test_a_product_with_its_activation_is_one_kernel_under_one_name(tmp_path: Path) -> None:
    nodes = [_node("Gemm", ["x", "w", "b"], "a"), _node("Relu", ["a"], "y")]
    fused = kernels_of(_file(tmp_path / "a.onnx", nodes, [5, 7], {"w": (7, 11), "b": (11,)}))
    alone = kernels_of(
        _file(tmp_path / "b.onnx", [_node("Gemm", ["x", "w", "b"], "y")], [5, 7], {"w": (7, 11), "b": (11,)})
    )
    assert fused == alone
    assert [(kernel.operator, kernel.flops) for kernel in fused.kernels] == [("Gemm", 2 * 5 * 7 * 11)]


def test_old_versions_of_the_standard_are_read(tmp_path: Path) -> None:
    nodes = [
        _node("Conv", ["x", "w"], "a"),
        _node("MaxPool", ["a"], "b", kernel_shape=[2, 2], strides=[2, 2]),
        _node("Relu", ["b"], "y"),
    ]
    network = kernels_of(_file(tmp_path / "old.onnx", nodes, [1, 16, 9, 9], {"w": (16, 16, 2, 2)}, opset=9))
    pools = [kernel for kernel in network.kernels if kernel.operator.endswith("MaxPool")]
    assert [(pool.kind, pool.shape) for pool in pools] == [("reduction", (1, 16, 4, 4))]


def test_views_move_nothing_but_are_kernels(tmp_path: Path) -> None:
    nodes = [
        _node("Sigmoid", ["x"], "a"),
        _node("Flatten", ["a"], "b", axis=2),
        _node("Tanh", ["b"], "y"),
    ]
    network = kernels_of(_file(tmp_path / "view.onnx", nodes, ["batch", 3, 4], {}), {"batch": 2})
    assert [kernel.operator for kernel in network.kernels] == ["Sigmoid", "Flatten", "Tanh"]
    assert [kernel.tensor_bytes for kernel in network.kernels] == [2 * 4 * 24, 0, 2 * 4 * 24]


def test_kernels_survive_json() -> None:
    kernel = Kernel("Conv", "convolution", "float32", 2.0, 3, 4, ((1, 2), (3,)), (5, 6))
    network = Kernels((kernel, kernel), 8)
    assert Kernels.from_dict(network.to_dict()) == network
    assert hash(Kernel.from_dict(kernel.to_dict())) == hash(kernel)


def test_bad_files_are_named(tmp_path: Path) -> None:
    nodes = [_node("Sigmoid", ["x"], "y")]
    path = _file(tmp_path / "free.onnx", nodes, ["batch", 3], {})
    with pytest.raises(HardwareCostError, match="batch"):
        kernels_of(path)
    path.write_bytes(b"no graph")
    with pytest.raises(DamagedFileError, match=r"free\.onnx is no whole ONNX file"):
        kernels_of(path)
    unknown = [helper.make_node("Nonsense", ["x"], ["y"])]
    with pytest.raises(HardwareCostError, match=r"strange\.onnx: ONNX Runtime does not load it"):
        kernels_of(_file(tmp_path / "strange.onnx", unknown, [1, 3], {}))
