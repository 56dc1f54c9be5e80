"""What a module says of integers, against what its file says, and against modules written out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw_cost_models.device import load_device
from hw_cost_models.export import export_onnx
from hw_cost_models.roofline import RooflineModel
from hw_cost_models.subject import graph_of
from hw_cost_models.trace import trace
from search_spaces import finalised
from search_spaces.quantised import quantised

if TYPE_CHECKING:
    from pathlib import Path

X = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))


class Rounds(nn.Module):
    """A product as quantisation-aware training writes it, by which of its inputs are rounded."""

    def __init__(self, *, inputs: bool, weights: bool) -> None:
        super().__init__()
        self.inputs, self.weights = inputs, weights
        self.weight = nn.Parameter(torch.randn(32, 64, generator=torch.Generator().manual_seed(1)))
        self.scale, self.zero = nn.Buffer(torch.full((32,), 0.05)), nn.Buffer(torch.zeros(32).int())

    def forward(self, x: Tensor) -> Tensor:
        x = torch.fake_quantize_per_tensor_affine(x, 0.1, 128, 0, 255) if self.inputs else x
        weight = torch.fake_quantize_per_channel_affine(self.weight, self.scale, self.zero, 0, -64, 64)
        return F.linear(x, weight if self.weights else self.weight)


def _product(module: nn.Module) -> dict[str, object]:
    (node,) = [node for _, node in trace(module, (X,)).nodes.data() if node["kind"] == "matmul"]
    return dict(node)


@pytest.mark.parametrize(("inputs", "weights"), [(False, False), (False, True), (True, False)])
def test_a_product_that_is_not_all_rounded_is_one_of_floats(inputs: bool, weights: bool) -> None:
    assert _product(Rounds(inputs=inputs, weights=weights))["dtype"] == "float32"


def test_a_product_that_is_rounded_reads_a_byte_for_each_number() -> None:
    floats, integers = (_product(Rounds(inputs=both, weights=both)) for both in (False, True))
    assert (floats["dtype"], floats["bytes_read"]) == ("float32", 4 * (8 * 64 + 32 * 64))
    assert (integers["dtype"], integers["bytes_read"]) == ("int8", 8 * 64 + 32 * 64)
    assert (floats["weight_bytes"], integers["weight_bytes"]) == (4 * 32 * 64, 32 * 64)
    assert floats["flops"] == integers["flops"]
    assert floats["bytes_written"] == integers["bytes_written"] == 4 * 8 * 32


LAYERS = {
    "linear": (nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32)), X.reshape(2, 4, 64)),
    "convolution": (nn.Sequential(nn.Conv2d(8, 16, 3, padding=1)), X.reshape(2, 8, 4, 8)),
}


@pytest.mark.parametrize(
    ("layer", "precision"), [("linear", "int8"), ("linear", "int4"), ("convolution", "int8")]
)
def test_the_file_says_the_same(layer: str, precision: str, tmp_path: Path) -> None:
    plain, x = LAYERS[layer]
    module = finalised(quantised(plain, precision)).eval()
    export_onnx(module, (x,), tmp_path / "m.onnx", dynamic={}, input_names=["x"], output_names=["y"])
    graphs = trace(module, (x,)), graph_of(str(tmp_path / "m.onnx"), {}, "error")
    ours, theirs = (
        [node for _, node in graph.nodes.data() if node["kind"] in ("matmul", "convolution")]
        for graph in graphs
    )
    assert [node["dtype"] for node in ours] == [node["dtype"] for node in theirs] == ["int8"] * len(ours)
    for mine, of_file in zip(ours, theirs, strict=True):
        assert mine["flops"] == pytest.approx(of_file["flops"], rel=0.02)  # with a bias or without
        assert mine["weight_bytes"] == pytest.approx(of_file["weight_bytes"], rel=0.25)  # scales, a bias


def test_eight_bits_are_cheap_where_the_device_multiplies_them_faster() -> None:
    plain = nn.Sequential(nn.Linear(256, 256)).eval()
    x = torch.randn(128, 256, generator=torch.Generator().manual_seed(0))
    items = {"fp32": (plain, (x,)), "int8": (finalised(quantised(plain, "int8")).eval(), (x,))}
    ratios = {}
    for name in ("raspberry-pi-4", "raspberry-pi-5"):
        priced = RooflineModel(load_device(name)).price(items)
        ratios[name] = priced["int8"].latency_ms / priced["fp32"].latency_ms
    assert ratios["raspberry-pi-5"] < 0.5  # it has products of four in one instruction
    assert ratios["raspberry-pi-4"] > 0.9  # it has none
