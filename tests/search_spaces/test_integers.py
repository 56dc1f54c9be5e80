"""Layers of integers against ONNX Runtime: its quantisers find the same, and its kernels give the same."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.quant_utils import quantize_data
from torch import Tensor, nn

from hw_cost_models.export import export_onnx
from search_spaces.integers import BLOCK, Int4Linear, Int8Linear, eight_bit_blocks
from search_spaces.quantised import EightBits, Int4AwareLinear, Int8AwareConvolution, Int8AwareLinear

if TYPE_CHECKING:
    from pathlib import Path

logging.getLogger("onnxruntime.quantization").setLevel(logging.WARNING)

INPUT_STEP = 8 / 255
"""Of inputs from -4 to 4, which is where the range is before anything was seen."""


def _linear(inputs: int, outputs: int, bias: bool, seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs, bias=bias)


def _int8(inputs: int = 64, outputs: int = 96, bias: bool = True) -> Int8Linear:
    return Int8AwareLinear(_linear(inputs, outputs, bias), EightBits()).finalised()


def _int4(inputs: int = 64, outputs: int = 96, bias: bool = True, seed: int = 0) -> Int4Linear:
    return Int4AwareLinear(_linear(inputs, outputs, bias, seed)).finalised()


def _exported(module: nn.Module, x: Tensor, path: Path) -> onnx.ModelProto:
    dynamic = {0: "batch", 1: "length"}
    export_onnx(module, (x,), path, dynamic=dynamic, input_names=["x"], output_names=["y"])
    onnx.checker.check_model(str(path))
    return onnx.load(path)


def _run(path: Path, x: Tensor) -> tuple[Tensor, Counter[str]]:
    """What ONNX Runtime gives, and the operators that it runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path.with_suffix(".optimised.onnx"))
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x.numpy()})
    operators = (node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
    return torch.from_numpy(y), Counter(operators)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 70))
def test_int4_weights_are_those_of_onnxruntimes_quantiser(seed: int, outputs: int, inputs: int) -> None:
    ours = _int4(inputs, outputs, False, seed)
    weight = _linear(inputs, outputs, False, seed).weight.detach().numpy()
    theirs = _quantised_by_onnxruntime(weight)
    for found, name, count in ((ours.packed, "Q4", inputs), (ours.zeros, "zero_points", -(-inputs // BLOCK))):
        mine, its = (_halves(packed.reshape(outputs, -1)) for packed in (found.numpy(), theirs[name]))
        assert np.array_equal(mine[:, :count], its[:, :count])  # what fills up the last byte or block is free
    np.testing.assert_allclose(ours.scale.numpy(), theirs["scales"].reshape(ours.scale.shape), rtol=1e-6)


def _halves(packed: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Every byte as two numbers, the lower half first."""
    return np.stack([packed % 16, packed // 16], axis=-1).reshape(len(packed), -1)


def _quantised_by_onnxruntime(weight: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    outputs, inputs = weight.shape
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in (("x", inputs), ("y", outputs))
    )
    product = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    held = numpy_helper.from_array(np.ascontiguousarray(weight.T), "w")
    model = helper.make_model(helper.make_graph([product], "g", [x], [y], [held]))
    quantiser = MatMulNBitsQuantizer(model, block_size=BLOCK, is_symmetric=False, accuracy_level=4)
    quantiser.process()
    return {
        t.name.removeprefix("w_"): numpy_helper.to_array(t) for t in quantiser.model.model.graph.initializer
    }


@pytest.mark.parametrize("row", range(4))
def test_int8_weights_are_those_of_onnxruntimes_quantiser(row: int) -> None:
    weight = _linear(64, 4, False).weight.detach()
    ours = Int8AwareLinear(_linear(64, 4, False), EightBits()).finalised()
    zero, scale, integers = quantize_data(weight[row].numpy(), TensorProto.INT8, True, reduce_range=True)[-3:]
    assert zero == 0
    assert float(ours.scale[row]) == pytest.approx(float(scale), rel=1e-6)
    assert np.array_equal(ours.integers[:, row].numpy(), integers)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 64), (3, 7, 64)])
def test_int8_runs_on_integers_and_agrees(bias: bool, shape: tuple[int, ...], tmp_path: Path) -> None:
    layer, x = _int8(bias=bias), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    _exported(layer, torch.randn(2, 5, 64), tmp_path / "layer.onnx")
    found, operators = _run(tmp_path / "layer.onnx", x)
    torch.testing.assert_close(found, layer(x), atol=2e-6, rtol=0)
    assert operators["MatMulIntegerToFloat"] == 1
    assert not operators["MatMul"]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("inputs", "shape"), [(64, (1, 1, 64)), (64, (3, 7, 64)), (40, (3, 7, 40))])
def test_int4_runs_on_packed_weights_and_agrees(
    bias: bool, inputs: int, shape: tuple[int, ...], tmp_path: Path
) -> None:
    layer, x = _int4(inputs, bias=bias), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    _exported(layer, torch.randn(2, 5, inputs), tmp_path / "layer.onnx")
    found, operators = _run(tmp_path / "layer.onnx", x)
    torch.testing.assert_close(found, layer(x), atol=2e-6, rtol=0)
    assert operators["MatMulNBits"] == 1


@pytest.mark.parametrize("make", [_int8, _int4])
def test_rows_of_two_dimensions_are_no_other_operator(make: Any, tmp_path: Path) -> None:
    """A linear layer over (rows, inputs) is exported as Gemm, which no quantiser of int4 takes."""
    layer, x = make(), torch.randn(9, 64)
    export_onnx(layer, (x,), tmp_path / "a.onnx", dynamic={0: "n"}, input_names=["x"], output_names=["y"])
    found, operators = _run(tmp_path / "a.onnx", x)
    torch.testing.assert_close(found, layer(x), atol=2e-6, rtol=0)
    assert operators["MatMulIntegerToFloat"] + operators["MatMulNBits"] == 1


@pytest.mark.parametrize(("groups", "bias"), [(1, False), (1, True), (8, False)])
def test_a_convolution_runs_on_integers_and_agrees(groups: int, bias: bool, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolution = nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=groups, bias=bias)
    layer = Int8AwareConvolution(convolution, EightBits(), EightBits()).finalised()
    x = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(1))
    export_onnx(layer, (x,), tmp_path / "a.onnx", dynamic={0: "n"}, input_names=["x"], output_names=["y"])
    found, operators = _run(tmp_path / "a.onnx", x)
    difference = (found - layer(x)).abs()
    assert operators["QLinearConv"] == 1
    assert difference.max() <= 1.01 * INPUT_STEP  # sums that lie between two integers may go to either
    assert (difference > 1e-5).float().mean() < 0.01


@pytest.mark.parametrize("make", [_int8, _int4])
def test_what_it_holds_is_what_the_file_holds(make: Any, tmp_path: Path) -> None:
    layer = make()
    file = _exported(layer, torch.randn(2, 5, 64), tmp_path / "layer.onnx")
    held = sum(tensor.nbytes for tensor in (*layer.parameters(), *layer.buffers()))
    assert sum(numpy_helper.to_array(t).nbytes for t in file.graph.initializer) == held
    assert layer.nonzero_parameters() == 64 * 96 + 96


def test_blocks_of_inputs_by_hand() -> None:
    x = torch.zeros(1, 40)
    x[0, 0], x[0, 1], x[0, 33] = 127.0, 1.4, 0.3
    rounded = eight_bit_blocks(x)
    assert rounded[0, :2].tolist() == [127.0, 1.0]  # the first block's step is 1
    assert rounded[0, 33].item() == pytest.approx(0.3)  # and the second's 0.3 / 127
    assert eight_bit_blocks(torch.zeros(0, 40)).shape == (0, 40)
