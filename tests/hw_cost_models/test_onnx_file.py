"""Files that are whole, and one line for those that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hw_cost_models.errors import DamagedFileError, HardwareCostError
from hw_cost_models.onnx_file import read_file
from hw_cost_models.onnx_graph import read_onnx
from tests.hw_cost_models.onnx_texts import model_of, write

if TYPE_CHECKING:
    from pathlib import Path

_PLAIN = "g (float[2,4] x) => (float[2,4] y) <float[4,4] w> { h = MatMul(x, w) y = Relu(h) }"


def _with_weight(array: np.ndarray) -> onnx.ModelProto:
    model = model_of("g (float[2,128] x) => (float[2,128] y) { y = MatMul(x, w) }")
    model.graph.initializer.append(numpy_helper.from_array(array, "w"))
    return model


def test_what_is_in_a_file(tmp_path: Path) -> None:
    text = """g (float[2,4] x) => (float[2,4] y) <float[2] w = {1, 2}> {
        two = Constant <value_float = 2.0> ()
        h = Mul (x, two)
        y = Relu (h)
    }"""
    file = read_file(write(tmp_path, text))
    assert [node.operator for node in file.body.nodes] == ["Mul", "Relu"]
    assert [node.name for node in file.body.nodes] == ["h", "y"], "without names, those of their outputs"
    assert {name: value.shape for name, value in file.body.constants.items()} == {"w": (2,), "two": ()}
    assert [value.name for value in file.body.inputs] == ["x"]
    assert file.opsets[""] == 21


def test_large_weights_are_dropped_and_small_ones_known(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(_with_weight(np.ones((128, 128), np.float32)), path)
    weight = read_file(path).body.constants["w"]
    assert (weight.data, weight.bytes, weight.dtype) == (None, 4 * 128 * 128, "float32")
    onnx.save(_with_weight(np.arange(128, dtype=np.int64)), path)
    np.testing.assert_array_equal(read_file(path).body.constants["w"].data, np.arange(128))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_short(tmp_path: Path, part: float) -> None:
    # One set of operators: between the entries of two, a file could be cut and lack nothing that it needs.
    path = write(tmp_path, '<ir_version: 10, opset_import: ["" : 21]>' + _PLAIN)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(DamagedFileError, match=r"model\.onnx is no whole ONNX file: .*; export it again"):
        read_onnx(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"GIF89a", b"\x08\x07", bytes(100), b"PK\x03\x04" * 20])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.onnx"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"picture\.onnx is no whole ONNX file") as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(HardwareCostError, match=r"gone\.onnx cannot be read: No such file"):
        read_onnx(tmp_path / "gone.onnx")
    with pytest.raises(HardwareCostError, match="cannot be read: Is a directory"):
        read_onnx(tmp_path)


def test_data_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = _with_weight(np.ones((128, 128), np.float32))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert read_onnx(path).graph["weight_bytes"] == 4 * 128 * 128
    data = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "weights.bin").write_bytes(data[:-1])
    with pytest.raises(
        DamagedFileError, match=r"'w' should be in weights\.bin, which is missing or too short"
    ):
        read_onnx(path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(DamagedFileError, match=r"model\.onnx: .*put the whole file beside the model"):
        read_onnx(path)


def test_shapes_beside_the_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = model_of("g (float[2,6] x) => (float[3,4] y) { y = Reshape(x, shape) }")
    model.graph.initializer.append(numpy_helper.from_array(np.array([3, 4]), "shape"))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (node,) = (node for _, node in read_onnx(path).nodes.data())
    assert node["shapes"] == [(3, 4)]


def test_data_outside_the_folder_are_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret").write_bytes(bytes(4 * 128 * 128))
    model = _with_weight(np.ones((128, 128), np.float32))
    (weight,) = model.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../secret")
    path = tmp_path / "inside" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DamagedFileError, match="outside the file's folder"):
        read_onnx(path)


def test_functions_of_the_file_are_taken_apart(tmp_path: Path) -> None:
    versions = [helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)]
    function = helper.make_function(
        "mine",
        "Twice",
        ["a"],
        ["c"],
        [helper.make_node("MatMul", ["a", "a"], ["b"]), helper.make_node("Add", ["b", "b"], ["c"])],
        versions[:1],
    )
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Twice", ["x"], ["y"], domain="mine")], "g", [x], [y])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, functions=[function], opset_imports=versions, ir_version=10), path)
    nodes = [node for _, node in read_onnx(path).nodes.data()]
    assert [node["operator"] for node in nodes] == ["MatMul", "Add"]
    assert nodes[0]["flops"] == 2 * 4**3


def test_a_value_that_nothing_makes(tmp_path: Path) -> None:
    path = write(tmp_path, "g (float[2] x) => (float[2] y) { y = Add(x, ghost) }")
    with pytest.raises(DamagedFileError, match=r"model\.onnx: nothing makes the value 'ghost'"):
        read_onnx(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(place=0.84375, byte=0)  # the type of an input
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_byte_that_is_wrong_is_no_traceback(tmp_path: Path, place: float, byte: int) -> None:
    text = """g (float[2,8] x, bool c) => (float[m,k] y) <float[8,4] w, int64[2] s = {4, 2}> {
        h = Gemm <alpha = 0.5, transA = 0> (x, w)
        i = If (c) <
            then_branch = one () => (float[2,4] p) { p = Relu(h) },
            else_branch = two () => (float[2,4] q) { q = Clip(h) }
        >
        y = Reshape(i, s)
    }"""
    path = write(tmp_path, text)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] = byte
    path.write_bytes(data)
    said = f"{path}: nothing"
    try:
        read_onnx(path)
    except HardwareCostError as error:
        said = str(error)
    assert "\n" not in said
    assert str(path) in said
