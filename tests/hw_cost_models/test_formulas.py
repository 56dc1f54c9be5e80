"""Formulas against torch's own counter, which covers products, and against hand arithmetic for the rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from hw_cost_models.errors import UnknownOperatorError
from hw_cost_models.trace import static_cost, trace

if TYPE_CHECKING:
    from collections.abc import Callable

_size = st.integers(1, 9)

# It is said when another library for matrix products is left out for a while.
_no_word_of_another_library = pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")


class _Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def _flops(function: Callable[..., Tensor], *inputs: Tensor) -> float:
    return static_cost(_Function(function), inputs).flops


def _counted(module: nn.Module, *inputs: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops()


@settings(max_examples=20, deadline=None)
@given(batch=_size, rows=_size, inner=_size, columns=_size)
def test_products(batch: int, rows: int, inner: int, columns: int) -> None:
    a, b = torch.ones(batch, rows, inner), torch.ones(batch, inner, columns)
    bias = torch.ones(batch, rows, columns)
    for function, inputs in (
        (torch.bmm, (a, b)),
        (torch.baddbmm, (bias, a, b)),
        (torch.mm, (a[0], b[0])),
        (torch.addmm, (bias[0], a[0], b[0])),
    ):
        assert _flops(function, *inputs) == _counted(_Function(function), *inputs)


@settings(max_examples=20, deadline=None)
@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    groups=st.integers(1, 3),
    transposed=st.booleans(),
)
def test_convolutions(kernel: int, stride: int, groups: int, transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(2 * groups, 4 * groups, kernel, stride, groups=groups)
    x = torch.ones(2, 2 * groups, 6, 5)
    assert static_cost(layer, (x,)).flops == _counted(layer, x)


def test_a_depthwise_convolution_over_time_by_hand() -> None:
    layer = nn.Conv1d(8, 8, 3, padding=1, groups=8)
    assert static_cost(layer, (torch.ones(2, 8, 10),)).flops == 2 * (2 * 8 * 10) * 3


def test_fused_attention_costs_what_its_parts_cost() -> None:
    q, k, v = torch.randn(2, 4, 6, 8), torch.randn(2, 4, 10, 8), torch.randn(2, 4, 10, 8)
    (node,) = (n for _, n in trace(_Function(F.scaled_dot_product_attention), (q, k, v)).nodes.data())
    assert "flash_attention_for_cpu" in str(node["operator"])
    parts = _flops(lambda q, k, v: (q @ k.mT).softmax(-1) @ v, q, k, v)
    assert node["flops"] == parts == 2 * 4 * 6 * 10 * (2 * 8 + 5 + 2 * 8)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (torch.exp, 24),
        (lambda x: x + x, 24),
        (lambda x: x.sum(1), 24),
        (lambda x: x.softmax(-1), 5 * 24),
        (lambda x: F.layer_norm(x, (6,)), 8 * 24),
        (lambda x: x.cumsum(0), 24),
        (lambda x: x.topk(2)[0], 24),
        (lambda x: x.topk(4)[0], 2 * 24),
        (lambda x: torch.cat([x, x]), 0),
        (lambda x: F.pad(x, (1, 1)), 0),
        (lambda x: x[:, torch.tensor([0, 2])], 0),
        (lambda x: x.gather(1, torch.zeros(4, 2, dtype=torch.int64)), 0),
        (lambda x: x.scatter_add(0, torch.zeros(1, 6, dtype=torch.int64), x), 24),
        (lambda x: x.t().reshape(-1, 8), 0),
        (lambda x: F.max_pool2d(x[None], 2)[0], 6 * 4),
    ],
)
def test_by_hand_on_four_by_six(function: Callable[..., Tensor], expected: float) -> None:
    assert _flops(function, torch.rand(4, 6)) == expected


def _products(module: nn.Module, *inputs: Tensor) -> float:
    """What torch's counter counts: matrix products and convolutions, those of attention taken apart."""
    with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
        graph = trace(module, inputs)
    kinds = ("matmul", "convolution")
    return float(sum(n["flops"] for _, n in graph.nodes.data() if n["kind"] in kinds))


def _all_counted(module: nn.Module, *inputs: Tensor) -> int:
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
            return _counted(module.eval(), *inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def _networks(width: int, heads: int, length: int) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    size, sequence = 2 * width * heads, torch.ones(1, length, 2 * width * heads)
    image = torch.ones(2, 3, length + 4, length + 5)
    return {
        "transformer": (nn.TransformerEncoderLayer(size, heads, 3 * size, batch_first=True), (sequence,)),
        "decoder": (nn.TransformerDecoderLayer(size, heads, 8, batch_first=True), (sequence, sequence)),
        "attention": (nn.MultiheadAttention(size, heads, batch_first=True), (sequence,) * 3),
        "gru": (nn.GRU(size, width, 2, bidirectional=True, batch_first=True), (sequence,)),
        "lstm": (nn.LSTM(size, width, 2, batch_first=True), (sequence,)),
        "rnn": (nn.RNN(size, width), (sequence,)),
        "vision": (
            nn.Sequential(
                nn.Conv2d(3, 4, 3, padding=1),
                nn.BatchNorm2d(4),
                nn.MaxPool2d(2),
                nn.ConvTranspose2d(4, 2, 2, stride=2),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Linear(8, 5),
            ),
            (image,),
        ),
        "video": (nn.Conv3d(3, width, (2, 3, 3), groups=1), (torch.ones(1, 3, 4, length + 3, length + 3),)),
        "einsum": (_Function(lambda x: torch.einsum("bij,bkj->bik", x, x)), (sequence,)),
    }


@_no_word_of_another_library
@pytest.mark.parametrize("name", _networks(1, 1, 1))
@settings(max_examples=4, deadline=None)
@given(width=st.integers(1, 4), heads=st.integers(1, 3), length=st.integers(1, 5))
def test_networks_against_the_counter_of_torch(name: str, width: int, heads: int, length: int) -> None:
    module, inputs = _networks(width, heads, length)[name]
    assert _products(module, *inputs) == _all_counted(module, *inputs) > 0


@_no_word_of_another_library
@settings(max_examples=10, deadline=None)
@given(width=_size, hidden=_size, length=_size)
def test_the_fused_recurrent_layer_multiplies_as_often_as_its_steps(
    width: int, hidden: int, length: int
) -> None:
    layer, x = nn.LSTM(width, hidden), torch.ones(length, 1, width)
    (fused,) = (n for _, n in trace(layer, (x,)).nodes.data() if n["kind"] == "scan")
    assert fused["flops"] == _all_counted(layer, x) + 13 * hidden * length


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: F.gelu(x, approximate="tanh"), 24),
        (lambda x: F.hardswish(x.clone(), inplace=True), 24),
        (lambda x: x.clone().masked_fill_(x > 0, 1.0), 2 * 24),
        (lambda x: x.var(), 4 * 24),
        (lambda x: x.norm(), 2 * 24),
        (lambda x: x.logsumexp(0), 4 * 24),
        (lambda x: x.sort(dim=0)[0], 2 * 24),
        (lambda x: torch.bucketize(x, torch.arange(8.0)), 3 * 24),
        (lambda x: torch.unique(x.flatten()), 24 * math.log2(24)),
        (lambda x: F.interpolate(x[None, None], scale_factor=2, mode="bilinear"), 7 * 4 * 24),
        (lambda x: F.interpolate(x[None], scale_factor=2, mode="nearest"), 0),
        (lambda x: F.avg_pool1d(x, 3), 3 * 8),
        (lambda x: F.max_pool3d(x[None, None].expand(1, 1, 4, 4, 6), 2), 8 * (2 * 2 * 3)),
        (lambda x: F.instance_norm(x[None]), 8 * 24),
        (lambda x: F.group_norm(x[None], 2), 8 * 24),
        (lambda x: F.prelu(x, torch.ones(1)), 24),
        (lambda x: F.glu(x), 2 * 12),
        (lambda x: torch.fft.fft(x.to(torch.complex64)), 5 * 24 * math.log2(6)),
        (lambda x: torch.fft.rfft(x), 2.5 * 24 * math.log2(6)),
        (lambda x: torch.cdist(x, x), 3 * 6 * 16),
        (lambda x: torch.rand_like(x), 24),
        (lambda x: F.embedding_bag(torch.tensor([[1, 2, 3]]), x), 3 * 6),
        (lambda x: F.bilinear(x, x, torch.ones(5, 6, 6)), 3 * 4 * 5 * 36),
        (lambda x: torch.addbmm(x @ x.t(), x.expand(3, 4, 6), x.t().expand(3, 6, 4)), 4 * 2 * 4 * 4 * 6),
        (lambda x: F.pixel_shuffle(x.view(1, 4, 2, 3), 2), 0),
        (lambda x: torch.stack([x, x]).roll(1), 0),
    ],
)
def test_more_by_hand_on_four_by_six(function: Callable[..., Tensor], expected: float) -> None:
    assert _flops(function, torch.rand(4, 6)) == pytest.approx(expected)


def test_grouped_products() -> None:
    rows, ends = torch.ones(12, 8, dtype=torch.bfloat16), torch.tensor([4, 8, 12], dtype=torch.int32)
    weights = torch.ones(3, 8, 16, dtype=torch.bfloat16)
    grouped = torch.ops.aten._grouped_mm
    assert _flops(lambda a, b, o: grouped(a, b, o), rows, weights, ends) == 2 * 12 * 8 * 16
    sums = _flops(lambda a, b, o: grouped(a.t(), b, o), rows, torch.ones(12, 16, dtype=torch.bfloat16), ends)
    assert sums == 2 * 8 * 12 * 16, "the sum over rows is in groups"


def test_an_operator_of_ones_own_takes_the_formula_that_torch_has_for_it() -> None:
    @torch.library.custom_op("mine::twice", mutates_args=())
    def twice(x: Tensor) -> Tensor:
        return 2 * x

    twice.register_fake(torch.empty_like)
    with pytest.raises(UnknownOperatorError, match=r"mine\.twice.*register_flop_formula"):
        _flops(twice, torch.ones(3))
    register_flop_formula(torch.ops.mine.twice)(lambda x, out_shape=None, **_: 7 * x[0])
    (node,) = (n for _, n in trace(_Function(twice), (torch.ones(3),)).nodes.data())
    assert (node["flops"], node["kind"], node["covered"]) == (21, "other", True)
