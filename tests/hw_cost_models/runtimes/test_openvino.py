"""What OpenVINO would do without a word, and what it says where it is not installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hw_cost_models.device import load_device
from hw_cost_models.errors import MeasurementError
from hw_cost_models.latency_table import LatencyTable
from hw_cost_models.runtimes.openvino import OpenVino

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("openvino")


@pytest.fixture
def total(tmp_path: Path) -> Path:
    """y = a + b of (n, 4)."""
    a, b, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "aby")
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["y"])], "total", [a, b], [y])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "total.onnx",
    )
    return tmp_path / "total.onnx"


def test_it_computes_in_single_precision(total: Path) -> None:
    """In bfloat16, of eight bits, the small one would be lost."""
    inputs = {"a": np.ones((2, 4), np.float32), "b": np.full((2, 4), 2.0**-20, np.float32)}
    (result,) = OpenVino("CPU", 1).bind(total, inputs).run()
    np.testing.assert_array_equal(result, inputs["a"] + inputs["b"])


def test_names_and_types_of_inputs(total: Path) -> None:
    ones = np.ones((2, 4), np.float32)
    with pytest.raises(MeasurementError, match=r"its inputs are a, b, not a$"):
        OpenVino("CPU", 1).bind(total, {"a": ones})
    with pytest.raises(MeasurementError, match="its inputs are a, b, not a, b, c"):
        OpenVino("CPU", 1).bind(total, {"a": ones, "b": ones, "c": ones})
    with pytest.raises(MeasurementError, match="its input b is float32, not float64"):
        OpenVino("CPU", 1).bind(total, {"a": ones, "b": ones.astype(np.float64)})
    with pytest.raises(MeasurementError, match=r"model input \(shape=\[\?,4\]\) and the tensor"):
        OpenVino("CPU", 1).bind(total, {"a": ones[:, :3], "b": ones})


def test_an_operator_it_does_not_know(total: Path) -> None:
    model = onnx.load(total)
    model.graph.node[0].domain, model.graph.node[0].op_type = "mine", "Frobnicate"
    model.opset_import.append(helper.make_opsetid("mine", 1))
    onnx.save(model, total)
    ones = np.ones((2, 4), np.float32)
    with pytest.raises(MeasurementError, match="Frobnicate") as caught:
        OpenVino("CPU", 1).bind(total, {"a": ones, "b": ones})
    assert "\n" not in str(caught.value)


def test_without_it_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MeasurementError, match=r"not installed; .*pip install 'dnas\[openvino\]'"):
        OpenVino("CPU", 1)
    with pytest.raises(MeasurementError, match="OpenVINO is not installed"):
        LatencyTable(load_device("local").with_runtime("openvino"), dynamic={}, cache=tmp_path)
