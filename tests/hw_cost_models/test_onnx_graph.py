"""Graphs of files against published figures, against the traces of what was exported, and by hand."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import onnx
import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.errors import HardwareCostError, UnknownOperatorError
from hw_cost_models.export import export_many, export_onnx
from hw_cost_models.graph import peak_bytes
from hw_cost_models.onnx_graph import read_onnx
from hw_cost_models.trace import trace
from tests.hw_cost_models.onnx_texts import graph_of, running

_LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
_PRODUCTS = ("matmul", "convolution")


def _macs(graph: nx.DiGraph) -> float:
    return sum(n["flops"] for _, n in graph.nodes.data() if n["kind"] in _PRODUCTS) / 2


@pytest.mark.parametrize(
    ("name", "giga_macs", "mega_parameters"),
    [
        # Multiply-adds and parameters as torchvision's tables of weights have them ("GFLOPS").
        ("resnet50", 4.089, 25.557),
        ("vgg19", 19.632, 143.667),
        ("densenet121", 2.834, 7.979),
        ("squeezenet", 0.349, 1.236),
        # Szegedy et al.: Going deeper with convolutions, CVPR 2015: "1.5 billion multiply-adds".
        ("inception_v1", 1.5, 6.999),
    ],
)
def test_published_networks(name: str, giga_macs: float, mega_parameters: float) -> None:
    graph = read_onnx(_LIGHT / f"light_{name}.onnx")
    assert _macs(graph) / 1e9 == pytest.approx(giga_macs, rel=0.05 if name == "inception_v1" else 0.001)
    parameters = graph.graph["weight_bytes"] / 4e6
    assert parameters == pytest.approx(mega_parameters, rel=0.03), "with the statistics of normalisations"
    assert graph.graph["coverage"] == 1
    assert nx.is_directed_acyclic_graph(graph)


_Items = dict[str, tuple[nn.Module, tuple[Tensor, ...]]]


@pytest.fixture(scope="module")
def exported(examples: _Items, tmp_path_factory: pytest.TempPathFactory) -> tuple[_Items, dict[str, Path]]:
    torch.manual_seed(0)
    norm = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU(), nn.Softmax(-1))
    items: _Items = {
        **{name: (module, inputs) for name, (module, inputs) in examples.items() if name != "routed"},
        "norm": (norm, (torch.randn(1, 6, 16),)),
    }
    return items, export_many(items, tmp_path_factory.mktemp("exported"), {0: "batch", 1: "length"})


@pytest.mark.parametrize("name", ["gated", "attention", "lm", "norm"])
@pytest.mark.parametrize(("batch", "length"), [(1, 6), (3, 40)])
def test_an_export_takes_the_operations_of_the_module(
    exported: tuple[_Items, dict[str, Path]], name: str, batch: int, length: int
) -> None:
    module, (example,) = exported[0][name]
    traced = trace(module, (example[:1, :1].expand(batch, length, *example.shape[2:]).contiguous(),))
    read = read_onnx(exported[1][name], {"batch": batch, "length": length})
    flops = [sum(n["flops"] for _, n in graph.nodes.data()) for graph in (traced, read)]
    assert flops[1] == pytest.approx(flops[0], rel=0.05), "but for masks, which the file makes by itself"
    assert read.graph["weight_bytes"] == pytest.approx(traced.graph["weight_bytes"], rel=0.03)
    assert read.graph["coverage"] == 1


def test_a_convolutional_network_takes_the_same_products(tmp_path: Path) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, groups=4),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
    )
    inputs, path = (torch.randn(5, 3, 8, 8),), tmp_path / "vision.onnx"
    export_onnx(module, inputs, path, dynamic={0: "batch"}, input_names=["x"], output_names=["y"])
    assert _macs(read_onnx(path, {"batch": 5})) == _macs(trace(module, inputs))


def test_a_node_says_what_it_is(tmp_path: Path) -> None:
    text = """g (float[batch,4] x) => (float[batch,3] y) <float[4,3] w, float[3] b> {
        h = MatMul(x, w)
        i = Add(h, b)
        s = Cast <to = 1> (i)
        y = Relu(s)
    }"""
    graph = graph_of(tmp_path, text, {"batch": 2})
    product, add, cast, _ = (node for _, node in graph.nodes.data())
    assert (product["operator"], product["kind"], product["dtype"]) == ("MatMul", "matmul", "float32")
    assert (product["input_shapes"], product["shapes"], product["dtypes"]) == (
        [(2, 4), (4, 3)],
        [(2, 3)],
        ["float32"],
    )
    assert product["flops"] == 2 * 2 * 4 * 3
    assert (product["bytes_read"], product["weight_bytes"], product["bytes_written"]) == (32 + 48, 48, 24)
    assert (add["bytes_read"], add["weight_bytes"]) == (24 + 12, 12)
    assert cast["free"], "to the type that it has"
    assert graph.graph["weight_bytes"] == 48 + 12
    assert list(graph.edges) == [(0, 1), (1, 2), (2, 3)]


def test_lives_of_tensors_by_hand(tmp_path: Path) -> None:
    text = """g (float[2,8] x) => (float[2,8] y) <float[8,32] up, float[32,8] down> {
        h = MatMul(x, up)
        e = Exp(h)
        flat = Flatten(e)
        d = MatMul(flat, down)
        y = Add(x, d)
    }"""
    graph = graph_of(tmp_path, text)
    assert peak_bytes(graph.graph["storages"]) == 4 * 2 * (8 + 32 + 32), "x is needed at the end"
    assert len(graph.graph["storages"]) == 5, "the view has none of its own"


def test_what_follows_from_weights_and_fixed_shapes_is_free(tmp_path: Path) -> None:
    text = """g (float[{batch},4] x) => (float[n] y) <float[4,4] w, int64[1] flat = {{-1}}> {{
        t = Transpose(w)
        h = MatMul(x, t)
        s = Shape(h)
        n = ReduceProd <keepdims = 1> (s)
        y = Reshape(h, n)
    }}"""
    free = {n["operator"]: n["free"] for _, n in graph_of(tmp_path, text.format(batch=3)).nodes.data()}
    assert free == {"Transpose": True, "MatMul": False, "Shape": True, "ReduceProd": True, "Reshape": True}
    graph = graph_of(tmp_path, text.format(batch="batch"), {"batch": 3})
    free = {n["operator"]: n["free"] for _, n in graph.nodes.data()}
    assert free == {"Transpose": True, "MatMul": False, "Shape": False, "ReduceProd": False, "Reshape": True}
    (shape,) = (n for _, n in graph.nodes.data() if n["operator"] == "Shape")
    assert (shape["bytes_read"], shape["flops"]) == (0, 0)
    assert graph.graph["weight_bytes"] == 64


def test_rows_that_are_picked(tmp_path: Path) -> None:
    text = """g (int64[2,3] i) => (float[2,3,8] y) <float[1000,8] table> { y = Gather(table, i) }"""
    (node,) = running(graph_of(tmp_path, text))
    assert node["bytes_read"] == 6 * 8 * 4 + 6 * 8
    assert node["weight_bytes"] == 6 * 8 * 4
    assert graph_of(tmp_path, text).graph["weight_bytes"] == 1000 * 8 * 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            None,
            r"model\.onnx: no value for 'batch', 'x:2', it is free in the file: .*\{\"batch\": 1, ",
        ),
        ({"batch": 2}, r"no value for 'x:2'"),
        ({"x:2": 2}, r"no value for 'batch'"),
        (
            {"batch": 2, "x:2": 5},
            r"MatMul 'h' does not take float32 \(2, 4, 5\), float32 \(4, 4\) \(.*\): give other",
        ),
    ],
)
def test_dimensions_without_a_value(tmp_path: Path, given: dict[str, int] | None, message: str) -> None:
    text = "g (float[batch,4,?] x) => (float[batch,4,4] y) <float[4,4] w> { h = MatMul(x, w) y = Relu(h) }"
    with pytest.raises(HardwareCostError, match=message) as caught:
        graph_of(tmp_path, text, given)
    assert "\n" not in str(caught.value)
    assert len(graph_of(tmp_path, text, {"batch": 2, "x:2": 4})) == 2


def test_an_unknown_operator_is_an_error_or_less_coverage(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["" : 21, "mine" : 1]>
    g (float[2,4] x) => (float[2,4] y) { h = Relu(x) y = mine.Secret(h) }"""
    with pytest.raises(
        UnknownOperatorError, match=r"model\.onnx: no formula for the operator mine\.Secret \('y'\)"
    ):
        graph_of(tmp_path, text)
    graph = graph_of(tmp_path, text, unknown="skip")
    assert graph.graph["coverage"] == 1 / 2
    assert graph.nodes[1]["bytes_written"] == 32, "the file says what it makes"
    with pytest.raises(UnknownOperatorError, match=r"nobody knows the shapes that mine\.Secret"):
        graph_of(tmp_path, text.replace("h = Relu(x) y = mine.Secret(h)", "h = mine.Secret(x) y = Relu(h)"))


def test_a_shape_that_depends_on_data_is_given_or_an_error(tmp_path: Path) -> None:
    text = """g (float[8] x) => (int64[1,n] y) { y = NonZero(x) }"""
    with pytest.raises(HardwareCostError, match=r"no value for 'NonZero', the shape of 'y' depends on data"):
        graph_of(tmp_path, text)
    assert graph_of(tmp_path, text, {"NonZero": 5}).nodes[0]["shapes"] == [(1, 5)]
    assert graph_of(tmp_path, text, {"n": 6}).nodes[0]["shapes"] == [(1, 6)]
