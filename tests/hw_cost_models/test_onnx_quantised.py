"""Files whose operators run on integers by nodes around them, against what ONNX Runtime makes of these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from hw_cost_models.graph import peak_bytes
from hw_cost_models.onnx_graph import read_onnx
from tests.hw_cost_models.onnx_texts import graph_of, model_of, running

if TYPE_CHECKING:
    from pathlib import Path

quantization = pytest.importorskip("onnxruntime.quantization")

_NETWORK = """g (float[n,3,8,8] x) => (y)
<float[8,3,3,3] a, float[8] a_bias, float[8,8,3,3] b, float[8] b_bias, float[128,10] c, float[10] c_bias> {
    h = Conv <pads = [1,1,1,1]> (x, a, a_bias)
    i = Relu (h)
    j = Conv <pads = [1,1,1,1]> (i, b, b_bias)
    k = Add (i, j)
    p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (k)
    f = Flatten (p)
    y = Gemm (f, c, c_bias)
}"""


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.left = [{"x": generator.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(2)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network with its nodes around operators, and what ONNX Runtime makes of it."""
    folder = tmp_path_factory.mktemp("quantised")
    model = model_of(_NETWORK)
    generator = np.random.default_rng(0)
    for weight in model.graph.initializer:
        values = generator.normal(size=list(weight.dims)).astype(np.float32)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, folder / "plain.onnx")
    quantization.quantize_static(
        folder / "plain.onnx",
        folder / "around.onnx",
        _Calibration(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(folder / "around.onnx", options, providers=["CPUExecutionProvider"])
    return folder / "around.onnx", folder / "optimised.onnx"


def _products(nodes: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    fields = ("kind", "dtype", "dtypes", "shapes", "flops", "bytes_written")
    return [tuple(n[f] for f in fields) for n in nodes if n["kind"] in ("matmul", "convolution", "reduction")]


def test_what_runs_is_what_the_runtime_makes_of_it(files: tuple[Path, Path]) -> None:
    around, optimised = (read_onnx(path, {"n": 2}) for path in files)
    ours, theirs = running(around), running(optimised)
    assert len(ours) == len(theirs), "nothing else runs"
    assert _products(ours) == _products(theirs)
    assert {n["dtype"] for n in ours if n["kind"] in ("matmul", "convolution", "reduction")} == {"int8"}
    assert sum(n["bytes_read"] for n in ours) == pytest.approx(sum(n["bytes_read"] for n in theirs), rel=0.01)
    assert around.graph["weight_bytes"] == pytest.approx(optimised.graph["weight_bytes"], rel=0.02)
    peaks = [peak_bytes(graph.graph["storages"]) for graph in (around, optimised)]
    assert peaks[0] == peaks[1], "the floats between never exist"


def test_small_weights_in_blocks_are_unpacked_by_the_product(tmp_path: Path) -> None:
    text = """g (float[2,64] x) => (float[2,16] y) <uint4[64,16] w, float[2,16] scales> {
        unpacked = DequantizeLinear <axis = 0, block_size = 32> (w, scales)
        y = MatMul (x, unpacked)
    }"""
    graph = graph_of(tmp_path, text)
    (product,) = running(graph)
    assert (product["dtype"], product["flops"]) == ("float32", 2 * 2 * 64 * 16)
    weights = 64 * 16 // 2 + 2 * 16 * 4
    assert product["weight_bytes"] == weights == graph.graph["weight_bytes"]
    assert product["bytes_read"] == weights + 2 * 64 * 4


def test_other_small_weights_are_made_large_every_time(tmp_path: Path) -> None:
    text = """g (float[2,64] x) => (float[2,16] y) <int8[64,16] w, float scale = {0.1}> {
        large = DequantizeLinear (w, scale)
        y = MatMul (x, large)
    }"""
    back, product = running(graph_of(tmp_path, text))
    assert (back["operator"], back["flops"], back["weight_bytes"]) == ("DequantizeLinear", 2 * 1024, 1024 + 4)
    assert (product["dtype"], product["weight_bytes"]) == ("float32", 0)


def test_a_value_that_others_need_as_floats_is_made(tmp_path: Path) -> None:
    text = """g (uint8[4,8] x) => (uint8[4,8] y, float[4,8] z) <float s = {0.1}, uint8 o> {
        f = DequantizeLinear (x, s, o)
        h = Sigmoid (f)
        y = QuantizeLinear (h, s, o)
        z = Exp (f)
    }"""
    assert [n["operator"] for n in running(graph_of(tmp_path, text))] == [
        "DequantizeLinear",
        "Sigmoid",
        "Exp",
    ]
    inside = text.replace("z = Exp (f)", "z = Exp (x_)").replace(
        "uint8[4,8] x)", "uint8[4,8] x, float[4,8] x_)"
    )
    between, _ = running(graph_of(tmp_path, inside))
    assert (between["operator"], between["dtype"], between["bytes_read"]) == ("Sigmoid", "int8", 32 + 4 + 1)
    assert between["bytes_written"] == 32
