"""Integer products and the operators around them, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.ao.quantization.fx._decomposed  # brings torch.ops.quantized_decomposed
from torch import Tensor, nn

from hw_cost_models.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    import networkx as nx

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*quantized.*deprecated", "ignore:.*TypedStorage is deprecated"
)


class _Function(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def _nodes(function: Callable[..., Tensor], *inputs: Tensor) -> list[dict[str, object]]:
    graph: nx.DiGraph = trace(_Function(function), inputs)
    return [node for _, node in graph.nodes.data() if not node["free"]]


def test_an_integer_product() -> None:
    left, right = torch.ones(32, 16, dtype=torch.int8), torch.ones(16, 24, dtype=torch.int8)
    (node,) = _nodes(torch._int_mm, left, right)
    assert (node["kind"], node["dtype"], node["dtypes"]) == ("matmul", "int8", ["int32"])
    assert node["flops"] == 2 * 32 * 16 * 24
    assert (node["bytes_read"], node["bytes_written"]) == (32 * 16 + 16 * 24, 4 * 32 * 24)


def test_weights_of_eight_bits_are_read_as_such() -> None:
    weight, scales = torch.ones(24, 32, dtype=torch.int8), torch.ones(24)
    packed = torch.ops.aten._weight_int8pack_mm
    (node,) = _nodes(lambda x: packed(x, weight, scales), torch.ones(4, 32))
    assert node["flops"] == 2 * 4 * 32 * 24
    assert node["weight_bytes"] == 24 * 32 + 24 * 4


def test_there_and_back() -> None:
    library = torch.ops.quantized_decomposed

    def function(x: Tensor) -> Tensor:
        small = library.quantize_per_tensor(x, 0.1, 0, -128, 127, torch.int8)
        return library.dequantize_per_tensor(small, 0.1, 0, -128, 127, torch.int8)

    there, back = _nodes(function, torch.ones(4, 6))
    assert (there["flops"], there["dtypes"], there["kind"]) == (4 * 24, ["int8"], "elementwise")
    assert (back["flops"], back["dtype"], back["bytes_read"]) == (2 * 24, "int8", 24)
    (fake,) = _nodes(lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127), torch.ones(4, 6))
    assert fake["flops"] == 6 * 24


def _packed(weight: Tensor) -> Tensor:
    return torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)


def test_packed_weights_are_unpacked() -> None:
    linear = torch.ops.quantized.linear_prepack(_packed(torch.ones(24, 32)), torch.ones(24))
    (node,) = _nodes(lambda x: torch.ops.quantized.linear_dynamic(x, linear), torch.ones(4, 32))
    assert (node["kind"], node["flops"]) == ("matmul", 2 * 4 * 32 * 24)
    assert node["weight_bytes"] == 24 * 32 + 24 * 4

    kernel = _packed(torch.ones(8, 2, 3, 3))
    convolution = torch.ops.quantized.conv2d_prepack(kernel, None, [1, 1], [0, 0], [1, 1], 2)

    def function(x: Tensor) -> Tensor:
        small = torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)
        return torch.ops.quantized.conv2d_relu(small, convolution, 0.1, 0).dequantize()

    quantised, convolved, back = _nodes(function, torch.ones(1, 4, 6, 6))
    assert [quantised["flops"], back["flops"]] == [4 * 4 * 36, 2 * 8 * 16]
    assert (convolved["kind"], convolved["dtype"], convolved["dtypes"]) == ("convolution", "int8", ["uint8"])
    assert convolved["flops"] == 2 * (8 * 16) * (2 * 9)
    assert convolved["bytes_written"] == 8 * 16
