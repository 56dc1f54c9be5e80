"""Formulas against torch's own counter, which covers products, and against hand arithmetic for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from hw_cost_models.errors import UnknownOperatorError
from hw_cost_models.trace import static_cost, trace

if TYPE_CHECKING:
    from collections.abc import Callable

_size = st.integers(1, 9)


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


def test_an_operator_nobody_thought_about_is_an_error() -> None:
    with pytest.raises(
        UnknownOperatorError, match=r"no formula for the operator aten\.linalg_eigh|_linalg_eigh"
    ):
        _flops(lambda x: torch.linalg.eigvalsh(x), torch.eye(3))


def test_bytes_of_views_copies_and_picked_rows() -> None:
    def nodes(function: Callable[..., Tensor], *inputs: Tensor) -> list[tuple[int, int, bool]]:
        graph = trace(_Function(function), inputs)
        return [(n["bytes_read"], n["bytes_written"], n["free"]) for _, n in graph.nodes.data()]

    x, index = torch.rand(4, 6), torch.tensor([1, 3])
    assert nodes(lambda x: x.t(), x) == [(0, 0, True)]
    assert nodes(lambda x: x + x, x) == [(96, 96, False)]
    assert nodes(torch.add, x, torch.rand(4, 6)) == [(192, 96, False)]
    assert nodes(F.embedding, index, torch.rand(1000, 6)) == [(2 * 6 * 4 + 2 * 8, 2 * 6 * 4, False)]
